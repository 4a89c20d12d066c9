#include "facts.hpp"

#include "error.hpp"
#include "fields.hpp"
#include "json.hpp"
#include "sha256.hpp"

namespace fxsr {
void check_schema(const json::Value &object) {
  const json::Value *schema = object.find("schema");
  const int64_t found = schema ? integer(*schema, "schema") : 0;
  if (found != kSchema) {
    fail(FXSR_BAD_MODEL, "written with schema ", found, ", but this library reads ", kSchema, "; export it again");
  }
}

namespace {

DataType data_type(const std::string &name) {
  if (name == "float32") return DataType::kFloat32;
  if (name == "float16") return DataType::kFloat16;
  if (name == "uint8") return DataType::kUint8;
  untrue(sentence("a tensor is of type ", foreign(name)));
}

int64_t channels_of(const std::string &tensor) {
  if (tensor == "lr_t") return 4;
  return tensor == "t_map" ? 1 : 3;
}

TensorFacts tensor(const json::Value &value, const std::string &wanted, bool bytes) {
  TensorFacts facts{typed<std::string>(value, "name"), data_type(typed<std::string>(value, "dtype")), {}};
  if (facts.name != wanted) untrue(sentence("the graph must have ", wanted, ", not ", foreign(facts.name)));
  const auto layout = typed<std::string>(value, "layout");
  const bool last = layout == "NHWC";
  if ((!last && layout != "NCHW") || (wanted != "t_map" && last != bytes)) {
    untrue(sentence(wanted, " has the layout ", foreign(layout)));
  }
  for (const json::Value &axis : typed<json::Array>(value, "shape")) {
    facts.shape.push_back(axis.as<std::string>() ? kAnyLength : integer(axis, "shape"));
  }
  if (facts.shape.size() != 4 || facts.shape[last ? 3 : 1] != channels_of(wanted)) {
    untrue(sentence(wanted, " has a shape that no tensor of fxsr has"));
  }
  return facts;
}

std::vector<TensorFacts> tensors(const json::Value &object, std::string_view key,
                                 const std::vector<std::string> &wanted, bool bytes) {
  const auto list = typed<json::Array>(object, key);
  if (list.size() != wanted.size()) untrue(sentence("the number of ", key, " is ", list.size()));
  std::vector<TensorFacts> facts;
  for (size_t index = 0; index < list.size(); ++index) facts.push_back(tensor(list[index], wanted[index], bytes));
  return facts;
}

std::vector<std::string> input_names(const Facts &facts) {
  if (facts.packed) return {"lr_t"};
  return facts.baked_t ? std::vector<std::string>{"lr"} : std::vector<std::string>{"lr", "t_map"};
}

std::optional<float> baked_style(const json::Value &object, bool packed) {
  const json::Value *value = object.find("baked_t");
  if (!value || value->is_null()) return std::nullopt;
  const double *number = value->as<double>();
  if (!number || packed || !(*number >= 0 && *number <= 1)) untrue("baked_t must be 0 to 1, and without packed");
  return static_cast<float>(*number);
}

}  // namespace

Facts decode_facts(std::string_view text) { return decode_facts(json::parse(text)); }

Facts decode_facts(const json::Value &object) {
  if (!object.as<json::Object>()) untrue("it is no object");
  check_schema(object);
  Facts facts;
  facts.name = typed<std::string>(object, "name");
  facts.variant = typed<std::string>(object, "variant");
  facts.precision = typed<std::string>(object, "precision");
  facts.licence = typed_or<std::string>(object, "licence", "unknown");
  facts.scale = static_cast<int>(integer(member(member(object, "config"), "scale"), "scale"));
  if (facts.scale != 2 && facts.scale != 4 && facts.scale != 8) untrue(sentence("the scale is ", facts.scale));
  if (facts.precision != "fp32" && facts.precision != "fp16" && facts.precision != "bf16") {
    untrue(sentence("the precision is ", foreign(facts.precision)));
  }
  const auto io = typed_or<std::string>(object, "io", "float");
  if (io != "float" && io != "uint8") untrue(sentence("io is ", foreign(io)));
  facts.packed = typed_or<bool>(object, "packed", false);
  facts.baked_t = baked_style(object, facts.packed);
  facts.inputs = tensors(object, "inputs", input_names(facts), io == "uint8");
  facts.outputs = tensors(object, "outputs", {"sr"}, io == "uint8");
  facts.type = facts.inputs.front().type;
  for (const auto *list : {&facts.inputs, &facts.outputs}) {
    for (const TensorFacts &each : *list) {
      if (each.type != facts.type) untrue("inputs and outputs are of different types");
    }
  }
  if (facts.takes_bytes() != (io == "uint8")) untrue("the types of its tensors are not those of its io");
  return facts;
}

void check_manifest(std::string_view text, std::string_view file_bytes) {
  const json::Value manifest = json::parse(text);
  check_schema(manifest);
  check_contents(member(manifest, "onnx"), file_bytes);
}

std::string check_contents(const json::Value &file, std::string_view file_bytes) {
  std::string promised = typed<std::string>(file, "sha256");
  if (static_cast<uint64_t>(integer(member(file, "bytes"), "bytes")) != file_bytes.size() ||
      promised != sha256(file_bytes)) {
    fail(FXSR_BAD_MODEL, "it is not the file that its manifest describes: it was changed, or not copied completely; ",
         "export it again");
  }
  return promised;
}

}  // namespace fxsr
