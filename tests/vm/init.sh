#!/bin/busybox sh
# First process of a virtual machine: lay the folders out, run the script, note how it ended, switch off.
# From the kernel's command line, with `:` between: KEEP, folders of the host that a tmpfs must not hide, and COPIED,
# folders that are in memory.
B=/bin/busybox
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
for module in /modules/*.ko; do
	[ ! -e "$module" ] || $B insmod "$module" || echo "init: $module cannot be loaded"
done

NINEP=trans=virtio,version=9p2000.L,msize=262144
$B mount -t 9p -o ro,cache=loose,$NINEP root /host || echo "init: no root"
$B mount --bind /host /root
for place in /mnt /tmp /var/tmp /run; do
	$B mount -t tmpfs -o mode=1777 tmpfs /root$place
done
$B mkdir -p /root/mnt/share
$B mount -t 9p -o $NINEP share /root/mnt/share || echo "init: no shared folder"
for place in $(echo "$KEEP" | $B tr : ' '); do
	$B mkdir -p "/root$place"
	$B mount --bind "/host$place" "/root$place"
done
for place in $(echo "$COPIED" | $B tr : ' '); do
	$B mount --bind "/copied$place" "/root$place"
done

$B mount -t proc proc /root/proc
$B mount -t sysfs sys /root/sys
$B mount -t devtmpfs dev /root/dev
$B mkdir -p /root/dev/shm /root/dev/pts
$B mount -t tmpfs tmpfs /root/dev/shm
$B mount -t devpts devpts /root/dev/pts
$B mount -t tracefs tracefs /root/sys/kernel/tracing
$B mount -t bpf bpf /root/sys/fs/bpf
$B mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
$B mount -t securityfs securityfs /root/sys/kernel/security
$B ip link set lo up

# As switch_root does: paths that /proc shows of other mount namespaces begin at the root of these. In the same process:
# the root folder of the first one is where ig looks for the host's libraries.
cd /root || echo "init: no folder"
$B mount --move . /
exec $B chroot . /bin/sh -c '
	/bin/sh /mnt/share/script
	echo $? >/mnt/share/status
	/bin/busybox sync
	/bin/busybox poweroff -f
'
