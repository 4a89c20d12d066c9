from runtime.machine.cgroup import *
