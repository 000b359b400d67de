# Kernel settings that kubelet changes for the whole machine: noted before the first node starts, put back afterwards.
# shellcheck shell=bash

kubelet_sysctls=(vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes)

note_sysctls() {
  [ -f "$state/sysctls" ] || sysctl "${kubelet_sysctls[@]}" 2> /dev/null | tr -d ' ' > "$state/sysctls"
}

restore_sysctls() { [ ! -f "$state/sysctls" ] || sysctl -q -p "$state/sysctls"; }
