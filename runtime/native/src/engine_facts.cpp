#include "engine_facts.hpp"

#include <algorithm>
#include <cctype>

#include "error.hpp"
#include "fields.hpp"
#include "sha256.hpp"

namespace fxsr {
namespace {

Shape shape(const json::Value &object, std::string_view key) {
  const auto axes = typed<json::Array>(object, key);
  Shape found{};
  if (axes.size() != found.size()) untrue("a shape of a profile has not four axes");
  std::transform(axes.begin(), axes.end(), found.begin(),
                 [](const json::Value &axis) { return integer(axis, "shape"); });
  return found;
}

Profile profile(const json::Value &object, const Facts &model) {
  Profile made;
  for (const auto &[name, range] : typed<json::Object>(object, "inputs")) {
    made.inputs[name] = {shape(range, "min"), shape(range, "max")};
    const auto &[least, most] = made.inputs[name];
    for (size_t axis = 0; axis < least.size(); ++axis) {
      if (least[axis] < 1 || least[axis] > most[axis]) untrue("min and max of a profile must be 1 or more, and ascend");
    }
  }
  const bool same = std::all_of(model.inputs.begin(), model.inputs.end(),
                                [&](const TensorFacts &input) { return made.inputs.count(input.name) == 1; });
  if (!same || made.inputs.size() != model.inputs.size()) untrue("a profile is for other inputs than the model has");
  return made;
}

// The numbers of a version: "10.6.0.post1" is 10, 6, 0.
std::vector<int> numbers(std::string_view version) {
  std::vector<int> found;
  while (!version.empty()) {
    const std::string part(version.substr(0, version.find('.')));
    if (!part.empty() && part.size() < 9 &&
        std::all_of(part.begin(), part.end(), [](unsigned char digit) { return std::isdigit(digit); })) {
      found.push_back(std::stoi(part));
    }
    version.remove_prefix(std::min(version.size(), part.size() + 1));
  }
  return found;
}

// As fxsr/runtime/backends/tensorrt/capabilities.py, which says where these come from.
bool rtx_runs_on(const std::string &version, const std::string &capability) {
  constexpr std::string_view kSince17[] = {"8.0", "8.6", "8.9", "12.0", "12.1"};
  const std::vector<int> here = numbers(capability);
  if (numbers(version) < std::vector{1, 7}) return here >= std::vector{8, 0};
  return std::find(std::begin(kSince17), std::end(kSince17), capability) != std::end(kSince17) ||
         here > std::vector{12, 1};
}

}  // namespace

bool Profile::takes(const Shapes &shapes) const {
  return shapes.size() == inputs.size() && std::all_of(shapes.begin(), shapes.end(), [this](const auto &each) {
           const auto range = inputs.find(each.first);
           if (range == inputs.end()) return false;
           for (size_t axis = 0; axis < each.second.size(); ++axis) {
             const int64_t size = each.second[axis];
             if (size < range->second.least[axis] || size > range->second.most[axis]) return false;
           }
           return true;
         });
}

Limits EngineFacts::limits() const {
  const auto &[least, most] = profiles.front().inputs.at(model.inputs.front().name);
  const size_t height = model.takes_bytes() ? 1 : 2, width = height + 1;
  return {least[0], most[0], least[height], least[width], most[height], most[width]};
}

int EngineFacts::profile_for(const Shapes &shapes) const {
  for (size_t index = profiles.size(); index > 0; --index) {
    if (profiles[index - 1].takes(shapes)) return static_cast<int>(index - 1);
  }
  return -1;
}

void EngineFacts::check_version(int here) const {
  const std::vector<int> found{here / 10000, here / 100 % 100, here % 100};
  std::vector<int> built = numbers(builder_version);
  built.resize(std::min(built.size(), found.size()));
  if (version_compatible ? built <= found : built == found) return;
  fail(FXSR_BAD_MODEL, "built by ", foreign(flavour), " ", foreign(builder_version), ", but ", found[0], ".", found[1],
       ".", found[2], " is installed; export it again, or set FXSR_TENSORRT to the library of that version");
}

void EngineFacts::check_gpu(const std::string &name, const std::string &capability) const {
  if (!is_rtx()) {
    if (gpu == name || hardware_compatible) return;
    fail(FXSR_NO_DEVICE, "built for ", foreign(gpu), ", but this GPU is ", name, "; export it again on this machine");
  }
  const bool listed = std::find(capabilities.begin(), capabilities.end(), capability) != capabilities.end();
  if (capabilities.empty() ? rtx_runs_on(builder_version, capability) : listed) return;
  fail(FXSR_NO_DEVICE, "built for other compute capabilities than ", capability, " of ", name,
       "; run the .onnx file, or export it again for this GPU");
}

EngineFacts read_engine_facts(std::string_view text, const std::string &file_name, std::string_view file_bytes) {
  const json::Value manifest = json::parse(text);
  check_schema(manifest);
  const auto engines = typed<json::Array>(manifest, "engines");
  const auto engine = std::find_if(engines.begin(), engines.end(), [&](const json::Value &each) {
    return typed<std::string>(member(each, "file"), "file") == file_name;
  });
  if (engine == engines.end()) fail(FXSR_BAD_MODEL, "its manifest does not list it; export it again");
  EngineFacts facts;
  facts.sha256 = check_contents(member(*engine, "file"), file_bytes);
  facts.model = decode_facts(member(manifest, "model"));
  facts.flavour = typed<std::string>(*engine, "flavour");
  if (facts.flavour != "tensorrt" && !facts.is_rtx()) untrue(sentence("the flavour is ", foreign(facts.flavour)));
  facts.builder_version = typed<std::string>(*engine, "builder_version");
  const json::Value *gpu = engine->find("gpu");
  if (gpu && !gpu->is_null()) facts.gpu = typed<std::string>(*engine, "gpu");
  const json::Value &options = member(*engine, "options");
  facts.version_compatible = typed_or<bool>(options, "version_compatible", false);
  facts.hardware_compatible = typed_or<bool>(options, "hardware_compatible", false);
  facts.strip_weights = typed_or<bool>(options, "strip_weights", false);
  for (const json::Value &each : typed_or<json::Array>(options, "compute_capabilities", {})) {
    if (const auto *capability = each.as<std::string>()) facts.capabilities.push_back(*capability);
  }
  for (const json::Value &each : typed<json::Array>(*engine, "profiles")) {
    facts.profiles.push_back(profile(each, facts.model));
  }
  if (facts.profiles.empty()) untrue("the engine has no profile");
  return facts;
}

}  // namespace fxsr
