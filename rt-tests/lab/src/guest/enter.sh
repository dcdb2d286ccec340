#!/bin/bash
# Starts systemd as PID 1 in namespaces of its own, over a root file system that keeps nothing. Called by
# rt-tests/lab/src/namespaces.rs with what it names here in its environment:
#   CGROUP     a cgroup of ours          LOWER    root file systems, topmost first, as overlayfs writes them
#   SCRATCH    a folder of ours          CONSOLE  a terminal
#   HOST_DIR   what stands at /host, or nothing
set -eu
if [ "${1-}" = outside ]; then
  echo $$ >"$CGROUP/cgroup.procs"
  exec unshare --pid --fork --mount --uts --ipc --net --cgroup --kill-child bash "$0" inside
fi
mount --make-rprivate /
mkdir -p "$SCRATCH/upper" "$SCRATCH/root"
mount -t tmpfs -o mode=755 tmpfs "$SCRATCH/upper"
mkdir "$SCRATCH/upper/files" "$SCRATCH/upper/work"
mount -t overlay -o "lowerdir=$LOWER,upperdir=$SCRATCH/upper/files,workdir=$SCRATCH/upper/work" overlay "$SCRATCH/root"
cd "$SCRATCH/root"
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty cpu_dma_latency; do
  [ -e "/dev/$device" ] || continue
  touch "dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs dev/shm
touch dev/console
mount --bind "$CONSOLE" dev/console
mount -t proc proc proc
mount --bind -o ro proc/sys proc/sys
mount -o remount,bind,ro proc/sys
[ ! -e proc/sysrq-trigger ] || mount --bind -o ro /dev/null proc/sysrq-trigger
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount --bind "$SCRATCH/lab" lab
if [ -n "$HOST_DIR" ]; then
  mount --bind "$HOST_DIR" host
  mount -o remount,bind,ro host
fi
hostname lab
pivot_root . mnt
umount -l /mnt
cd /
exec env -i container=lab PATH=/usr/local/sbin:/usr/sbin:/usr/bin SYSTEMD_LOG_TARGET=null \
  /usr/lib/systemd/systemd --unit=lab.target --show-status=false
