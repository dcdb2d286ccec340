#!/bin/bash
# In the guest: runs what the host asks for. The host's end is rt-tests/lab/src/guest.rs.
#
# With `lab.script` on the kernel's command line it runs /lab/script once, prints to the second serial line and
# powers off. Else it serves the host's port: `NAME BYTES MORE`, then a script of so many bytes, then what it reads
# on its standard input; what the script prints goes back, and `LAB-END NAME STATUS` behind it.
set -u
cd /root || exit 1

if grep -qsw lab.script /proc/cmdline; then
  exec </dev/null >/dev/ttyS1 2>&1
  stty raw -echo </dev/ttyS1
  bash /lab/script
  printf '\1LAB-END script %s\n' $?
  sync
  # The line is empty when its last byte has been sent.
  stty drain </dev/ttyS1 2>/dev/null || true
  echo o >/proc/sysrq-trigger
  exec sleep infinity
fi

if [ -p /lab/in ]; then
  exec 3</lab/in 4>/lab/out
else
  for name in /sys/class/virtio-ports/*/name; do
    if [ "$(cat "$name")" = lab ]; then
      port=${name%/name}
      exec 3<>"/dev/${port##*/}" 4>&3
    fi
  done
fi
printf '\1LAB-END hello 0\n' >&4
while IFS=' ' read -r -u 3 name bytes more; do
  head -c "$bytes" <&3 >/run/lab-script
  if [ "$more" = 0 ]; then
    bash /run/lab-script </dev/null >&4 2>&1 3<&- 4>&-
  else
    bash /run/lab-script < <(head -c "$more" <&3) >&4 2>&1 3<&- 4>&-
  fi
  printf '\1LAB-END %s %s\n' "$name" $? >&4
done
