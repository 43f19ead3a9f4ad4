import { limits, vmSpecSchema } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { unconfined } from "../confinement/launcher.ts";
import type { InstanceSpec } from "../driver.ts";
import { nicsInArguments, tapNameOf } from "../network/nic.ts";
import { qemuArguments, tapsOf } from "./qemu-arguments.ts";

const directory = "/data,dir/instances/x";
const spec: InstanceSpec = {
  vmId: "11111111-2222-4333-8444-555555555555",
  name: "web",
  fencingEpoch: 3,
  generation: 5,
  driver: "qemu-tcg",
  vm: vmSpecSchema.parse({ vcpus: 2, memoryMiB: 64, image: "nano" }),
  machine: undefined,
  confinement: unconfined,
  boot: { type: "multiboot", kernelPath: "kernel", commandLine: "" },
  disks: [],
  paths: {
    directory,
    consoleLog: `${directory}/console.log`,
    pidFile: `${directory}/pid-5`,
    stderrLog: `${directory}/stderr.log`,
    journalIn: `${directory}/events-5.in`,
    journalOut: `${directory}/events-5.out`,
    controlSocket: "/run,dir/a.c",
    serialSocket: "/run,dir/a.s",
    agentSocket: "/run/x.a",
    networkSockets: [],
  },
};
const build = (change: Partial<InstanceSpec> = {}) => qemuArguments({ ...spec, ...change }, "pc-q35-7.2");
const after = (list: readonly string[], flag: string) => list[list.indexOf(flag) + 1];

describe("qemuArguments", () => {
  it("shows name, id and fencing epoch to whoever lists processes", () => {
    const list = build();
    expect(after(list, "-name")).toBe("guest=web,process=blixard-web-3");
    expect(after(list, "-uuid")).toBe(spec.vmId);
    expect(after(list, "-fw_cfg")).toBe("name=opt/blixard/fencing-epoch,string=3");
    expect(after(list, "-M")).toBe("pc-q35-7.2");
  });

  it("names files as they are seen from the directory of the instance, and sockets by their descriptors", () => {
    const list = build();
    expect(list).toContain("socket,id=control,fd=3,server=on,wait=off");
    expect(list).toContain("socket,id=serial0,fd=4,server=on,wait=off,logfile=console.log,logappend=on");
    expect(list).toContain("pipe,id=journal,path=events-5");
    expect(list.join(" ")).not.toContain(directory);
  });

  it.each(["web,debug-threads=on", "web qemu", "-web", "Web", ""])("refuses the name %j", (name) => {
    expect(() => build({ name })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });

  it("refuses an id and a machine that could be options", () => {
    expect(() => build({ vmId: "x" })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(() => qemuArguments(spec, "q35,kernel=/etc/passwd")).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });

  it("gives a disk as JSON with an explicit format, so that its file name is only a file name", () => {
    const disks = [{ name: "root", path: "fat:/etc,readonly=off", format: "raw" } as const];
    const list = build({ boot: { type: "disk" }, disks });
    expect(JSON.parse(after(list, "-blockdev") ?? "")).toEqual({
      driver: "raw",
      "node-name": "disk-root",
      discard: "unmap",
      file: { driver: "file", filename: "fat:/etc,readonly=off", locking: "on", discard: "unmap" },
    });
  });

  it("takes the base of an overlay from the node and never from the header of the disk", () => {
    const base = { path: "disk-root.base", format: "raw" } as const;
    const disk = { name: "root", path: "disk-root.qcow2", format: "qcow2" } as const;
    const backingOf = (list: readonly string[]) => JSON.parse(after(list, "-blockdev") ?? "").backing;
    const file = { driver: "file", filename: "disk-root.base", locking: "on" };
    expect(backingOf(build({ disks: [{ ...disk, base }] }))).toEqual({ driver: "raw", "read-only": true, file });
    expect(backingOf(build({ disks: [disk] }))).toBeNull();
  });

  it("boots from the first disk where the image is one, and from none beside a kernel", () => {
    const disks = ["root", "data"].map((name) => ({ name, path: `disk-${name}.raw`, format: "raw" as const }));
    const devices = (list: readonly string[]) => list.filter((part) => part.startsWith("virtio-blk-pci"));
    const stop = "werror=stop,rerror=stop";
    const [root, data] = [
      `virtio-blk-pci,drive=disk-root,serial=root,${stop}`,
      `virtio-blk-pci,drive=disk-data,serial=data,${stop}`,
    ];
    expect(devices(build({ boot: { type: "disk" }, disks }))).toEqual([`${root},bootindex=0`, data]);
    expect(devices(build({ disks }))).toEqual([root, data]);
  });

  it("has slots for disks that come and go where a guest knows of them, and removable ones in them", () => {
    const disk = (name: string, isRemovable: boolean) =>
      ({ name, path: `${name}.raw`, format: "raw", isRemovable }) as const;
    const disks = [disk("root", false), ...Array.from({ length: 9 }, (_, at) => disk(`v${at}`, true))];
    const devices = (list: readonly string[]) => list.filter((_, at) => list[at - 1] === "-device");
    const slots = (list: readonly string[]) => devices(list).filter((part) => part.startsWith("pcie-root-port"));
    expect(slots(build({ disks }))).toEqual([]);
    const list = build({ boot: { type: "disk" }, disks });
    expect(slots(list)).toHaveLength(limits.vmHotplugDisksMax);
    expect(slots(list)[1]).toBe("pcie-root-port,id=slot1,bus=pcie.0,chassis=2,addr=0x1e.1,io-reserve=0");
    const inSlots = devices(list).filter((part) => part.startsWith("{"));
    expect(inSlots.map((part) => JSON.parse(part).bus)).toEqual(disks.slice(1, 9).map((_, at) => `slot${at}`));
    expect(JSON.parse(inSlots[0] ?? "")).toMatchObject({ id: "disk-v0", drive: "disk-v0", serial: "v0" });
    const fixed = devices(list).filter((part) => part.startsWith("virtio-blk-pci"));
    expect(fixed.map((part) => /serial=([^,]+)/.exec(part)?.[1])).toEqual(["root", "v8"]);
  });

  it("has places for processors and room for memory where the VM grows, and none where it does not", () => {
    const hotplug = { vcpus: { min: 2, max: 4 }, memoryMiB: { min: 64, max: 96 } };
    const list = build({ hotplug });
    expect(after(list, "-smp")).toBe("2,maxcpus=4");
    // Whole blocks: of less, Linux makes no use.
    expect(after(list, "-m")).toBe("size=64M,maxmem=192M");
    expect(after(list, "-object")).toBe("memory-backend-ram,id=memory1-ram,size=128M,reserve=off");
    const plain = build();
    expect([after(plain, "-m"), after(plain, "-smp")]).toEqual(["64M", "2"]);
    expect(build({ hotplug: { vcpus: { min: 2, max: 2 }, memoryMiB: { min: 64, max: 64 } } })).not.toContain("-object");
  });

  it("shows a seed that nobody writes to, and a channel for an agent, behind all that was there before", () => {
    const disks = [{ name: "data", path: "disk-data.raw", format: "raw" as const }];
    const nics = [{ network: "user", mac: "02:00:00:00:00:01" }];
    const paths = { ...spec.paths, networkSockets: ["/run/x.n"] };
    const list = build({ disks, nics, paths });
    const more = build({ disks, nics, paths, seedPath: "seed.iso", agent: true });
    expect(more.slice(0, list.length)).toEqual(list);
    const [, blockdev, ...rest] = more.slice(list.length);
    expect(JSON.parse(blockdev ?? "")).toEqual({
      driver: "raw",
      "node-name": "seed",
      "read-only": true,
      file: { driver: "file", filename: "seed.iso", "read-only": true },
    });
    expect(rest).toEqual([
      ...["-device", "virtio-blk-pci,drive=seed,serial=cloud-init-seed"],
      ...["-chardev", "socket,id=agent0,fd=6,server=on,wait=off"],
      ...["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent0,name=org.qemu.guest_agent.0"],
    ]);
  });

  it("has CD-ROM drives that nobody writes to behind all others, and boots in the order that is asked for", () => {
    const boot = { type: "disk" } as const;
    const disks = ["root", "data"].map((name) => ({ name, path: `disk-${name}.raw`, format: "raw" as const }));
    const cdroms = [
      { name: "cd", path: "cdrom-cd.ab.iso" },
      { name: "spare", path: undefined },
    ];
    const list = build({ boot, disks });
    const more = build({ boot, disks, cdroms });
    expect(more.slice(0, list.length)).toEqual(list);
    const [, bus, , blockdev, , cd, , spare] = more.slice(list.length);
    expect(bus).toBe("virtio-scsi-pci,id=cdroms,bus=pcie.0,addr=0x1b");
    const file = { driver: "file", filename: "cdrom-cd.ab.iso", "read-only": true };
    expect(JSON.parse(blockdev ?? "")).toEqual({ driver: "raw", "node-name": "cdrom-cd", "read-only": true, file });
    const drive = { driver: "scsi-cd", id: "cdrom-cd", bus: "cdroms.0", serial: "cd", drive: "cdrom-cd" };
    expect(JSON.parse(cd ?? "")).toEqual(drive);
    expect(JSON.parse(spare ?? "")).toEqual({ driver: "scsi-cd", id: "cdrom-spare", bus: "cdroms.0", serial: "spare" });

    const ordered = build({ boot, disks, cdroms, bootOrder: ["cd", "data"] });
    const places = ordered.flatMap((part) => {
      const named = /(?:serial=|"serial":")([a-z]+).*?bootindex[=:"]+(\d)/.exec(part);
      return named === null ? [] : [`${named[1]} ${named[2]}`];
    });
    expect(places.sort()).toEqual(["cd 0", "data 1"]);
    expect(() => build({ cdroms: [{ name: "a,b", path: undefined }] })).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });

  it("gives every device that has a fixed place on the bus one of its own", () => {
    const all = build({
      boot: { type: "disk" },
      nics: [{ network: "user", mac: "02:00:00:00:00:01" }],
      paths: { ...spec.paths, networkSockets: ["/run/x.n", "/run/x.o"] },
      disks: [{ name: "root", path: "disk-root.raw", format: "raw" }],
      cdroms: [{ name: "cd", path: undefined }],
      hotplug: { vcpus: { min: 2, max: 4 }, memoryMiB: { min: 64, max: 1_024 } },
    });
    const places = all.flatMap((part) => /bus=pcie\.0,.*\baddr=(0x[0-9a-f.]+)/.exec(part)?.[1] ?? []);
    const whole = new Set(places.map((place) => place.split(".")[0]));
    expect([...whole].sort()).toEqual(["0x1b", "0x1c", "0x1d", "0x1e"]);
    expect(new Set(places).size).toBe(places.length);
  });

  it.each(["a,file=/etc/passwd", "a=b", "../a", "", "x".repeat(21), "a\n"])("refuses a disk of the name %j", (name) => {
    expect(() => build({ disks: [{ name, path: "p", format: "raw" }] })).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });

  it("keeps a command line one argument", () => {
    const boot = {
      type: "linux",
      kernelPath: "/k",
      initrdPath: "/i",
      commandLine: "console=ttyS0 -monitor stdio",
    } as const;
    const list = build({ boot });
    expect(after(list, "-append")).toBe("console=ttyS0 -monitor stdio");
    expect(after(list, "-initrd")).toBe("/i");
  });

  it("gives a card in a bridge its tap in place of the socket of its slot, and a slot that names the bridge", () => {
    const boot = { type: "disk", diskPath: "disk.raw", diskFormat: "raw" } as const;
    const nics = [
      { network: "user", mac: "02:00:00:00:00:01" },
      { network: "office", mac: "06:00:00:00:00:02", bridge: "br0" },
    ];
    const paths = { ...spec.paths, networkSockets: ["/run/x.n", "/run/x.o", "/run/x.p"] };
    const list = build({ boot, nics, paths });
    const netdevs = list.filter((_, at) => list[at - 1] === "-netdev").map((each) => each.replace(/,server.*/, ""));
    expect(netdevs).toEqual(["stream,id=nic0", "tap,id=nic1,fd=6", "stream,id=nic2"]);
    const cards = list.flatMap((each) => /^pcie-root-port,id=((?:card|tap)[^,]*),/.exec(each)?.[1] ?? []);
    expect(cards).toEqual(["card0", "tap1-br0", "card2"]);
    expect(list).toContain("virtio-net-pci,id=net1-office,netdev=nic1,mac=06:00:00:00:00:02,romfile=,bus=tap1-br0");
    expect(nicsInArguments(list)).toEqual(nics.map((nic, slot) => ({ ...nic, slot })));
    const name = tapNameOf(spec.vmId, 1);
    expect(tapsOf({ vmId: spec.vmId, nics })).toEqual([
      { descriptor: 6, name, bridge: "br0", mac: "06:00:00:00:00:02" },
    ]);
  });

  it("gives a network card a descriptor and an address, behind the disk, and tells of it again", () => {
    const boot = { type: "disk", diskPath: "disk.raw", diskFormat: "raw" } as const;
    const nics = [
      { network: "user", mac: "02:00:00:00:00:01" },
      { network: "lan", mac: "06:00:00:00:00:02" },
    ];
    const paths = { ...spec.paths, networkSockets: ["/run/x.n", "/run/x.o", "/run/x.p"] };
    const list = build({ boot, nics, paths });
    expect(list.slice(list.indexOf("-netdev"), -2 * limits.vmHotplugDisksMax)).toEqual([
      ...[5, 6, 7].flatMap((fd, at) => ["-netdev", `stream,id=nic${at},server=on,addr.type=fd,addr.str=${fd}`]),
      ...["-device", "virtio-net-pci,id=net0-user,netdev=nic0,mac=02:00:00:00:00:01,romfile=,bus=card0"],
      ...["-device", "virtio-net-pci,id=net1-lan,netdev=nic1,mac=06:00:00:00:00:02,romfile=,bus=card1"],
    ]);
    expect(build({ boot, nics, paths, agent: true })).toContain("socket,id=agent0,fd=8,server=on,wait=off");
    expect(nicsInArguments(list)).toEqual(nics.map((nic, slot) => ({ ...nic, slot })));
    expect(list.filter((each) => /^pcie-root-port,id=card/.test(each))).toHaveLength(3);
    // A guest without firmware has its cards where they always were.
    const fixed = build({ nics: nics.slice(0, 1), paths: { ...paths, networkSockets: ["/run/x.n"] } });
    expect(fixed.at(-1)).toBe("virtio-net-pci,id=net0-user,netdev=nic0,mac=02:00:00:00:00:01,romfile=");
    expect(nicsInArguments(build())).toEqual([]);
    for (const nic of [
      { network: "user,x=y", mac: "02:00:00:00:00:01" },
      { network: "user", mac: "02:0,romfile=/etc" },
    ]) {
      expect(() => build({ nics: [nic] })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    }
  });

  it("uses KVM only for the driver that was probed for it", () => {
    expect(after(build(), "-accel")).toMatch(/^tcg/);
    expect(after(build({ driver: "qemu-kvm" }), "-accel")).toBe("kvm");
  });
});
