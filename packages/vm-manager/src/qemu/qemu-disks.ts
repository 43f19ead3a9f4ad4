/** The disks of a QEMU that runs, over QMP. What it has is asked of it each time: it may be older than this process. */
import { BlixardError, type Clock } from "@blixard/common";
import type { AttachedCdrom, AttachedDisk, DiskCopyOptions, DiskLimits, GuestDisk, InstanceDisks } from "../driver.ts";
import { diskNodePrefix } from "../process/event-journal.ts";
import type { ExecuteQmp } from "../process/qmp-instance.ts";
import { cdromIdOf, cdromNameOf, diskBlockdev, diskNodeName, slotPrefix, slottedDisk } from "./qemu-arguments.ts";
import { copyDisk } from "./qemu-disk-copy.ts";
import { objectOf, objectsIn } from "./qmp-answers.ts";
import { unplugDevice } from "./unplug-device.ts";

/** The part of a virtio disk that has the block device. */
const backend = "/virtio-backend";

interface FoundDisk extends GuestDisk {
  /** The path of its device; undefined for one that is open, and that the guest does not have. */
  readonly device: string | undefined;
  readonly limits: DiskLimits;
}

interface FoundCdrom extends AttachedCdrom {
  /** The guest does not let it open. */
  readonly isLocked: boolean;
}

export class QemuDisks implements InstanceDisks {
  readonly #clock: Clock;
  readonly #execute: ExecuteQmp;

  constructor(clock: Clock, execute: ExecuteQmp) {
    this.#clock = clock;
    this.#execute = execute;
  }

  async list(): Promise<readonly GuestDisk[]> {
    const disks: GuestDisk[] = [];
    for (const { name, sizeBytes, device } of await this.#found()) {
      // Open without a device: an attachment or a detachment ended between its steps.
      if (device === undefined && (await this.#closes(diskNodeName(name)))) continue;
      disks.push({ name, sizeBytes });
    }
    return disks;
  }

  async attach(disk: AttachedDisk): Promise<void> {
    const slot = await this.#freeSlot();
    await this.#execute("blockdev-add", diskBlockdev(disk));
    try {
      await this.#execute("device_add", slottedDisk(disk, slot));
    } catch (error) {
      await this.#closes(diskNodeName(disk.name));
      throw error;
    }
  }

  async detach(name: string, signal: AbortSignal): Promise<void> {
    const found = await this.#find(name);
    const node = diskNodeName(name);
    if (found?.device !== undefined) {
      if (!found.device.endsWith(`/${node}`)) throw new BlixardError("CONFLICT", "it has no slot to come out of");
      const isThere = async () => (await this.#find(name))?.device !== undefined;
      await unplugDevice({ clock: this.#clock, execute: this.#execute }, node, isThere, signal);
    }
    if ((await this.#find(name)) !== undefined) await this.#execute("blockdev-del", { "node-name": node });
  }

  async grow(name: string, sizeBytes: number): Promise<void> {
    const found = await this.#find(name);
    if (found === undefined || found.sizeBytes >= sizeBytes) return;
    await this.#execute("block_resize", { "node-name": diskNodeName(name), size: sizeBytes });
  }

  async limit(name: string, { iops, bytesPerSecond }: DiskLimits): Promise<void> {
    const found = await this.#find(name);
    if (found?.device === undefined) return;
    if (found.limits.iops === iops && found.limits.bytesPerSecond === bytesPerSecond) return;
    const each = { iops_rd: 0, iops_wr: 0, bps_rd: 0, bps_wr: 0 };
    await this.#execute("block_set_io_throttle", {
      id: `${found.device}${backend}`,
      iops,
      bps: bytesPerSecond,
      ...each,
    });
  }

  async copy(disk: { readonly name: string; readonly file: string }, options: DiskCopyOptions): Promise<void> {
    await copyDisk({ clock: this.#clock, execute: this.#execute }, disk, options);
  }

  async cdroms(): Promise<readonly FoundCdrom[]> {
    return objectsIn(await this.#execute("query-block")).flatMap((block): FoundCdrom[] => {
      const name = cdromNameOf(block["qdev"]);
      const { file } = objectOf(block["inserted"]);
      const isLocked = block["locked"] === true && block["tray_open"] !== true;
      return name === undefined ? [] : [{ name, path: typeof file === "string" ? file : undefined, isLocked }];
    });
  }

  async changeMedium({ name, path }: AttachedCdrom): Promise<void> {
    const id = cdromIdOf({ name });
    const put = { id, filename: path, format: "raw", "read-only-mode": "read-only" };
    try {
      await (path === undefined ? this.#execute("eject", { id }) : this.#execute("blockdev-change-medium", put));
    } catch (error) {
      const isLocked = (await this.cdroms()).some((found) => found.name === name && found.isLocked);
      if (!isLocked) throw error;
      throw new BlixardError("CONFLICT", "the guest has locked it, and was asked to let it open");
    }
    // What was there at the start stays open until it is let go of by its name.
    await this.#closes(id);
  }

  /** False when it stays open. */
  async #closes(node: string): Promise<boolean> {
    return await this.#execute("blockdev-del", { "node-name": node }).then(
      () => true,
      () => false,
    );
  }

  async #find(name: string): Promise<FoundDisk | undefined> {
    return (await this.#found()).find((disk) => disk.name === name);
  }

  async #found(): Promise<readonly FoundDisk[]> {
    const devices = new Map<unknown, Pick<FoundDisk, "device" | "limits">>();
    for (const { qdev, inserted } of objectsIn(await this.#execute("query-block"))) {
      const { "node-name": node, iops, bps } = objectOf(inserted);
      if (typeof qdev !== "string") continue;
      const limits = { iops: Number(iops), bytesPerSecond: Number(bps) };
      devices.set(node, { device: qdev.endsWith(backend) ? qdev.slice(0, -backend.length) : qdev, limits });
    }
    const nodes = objectsIn(await this.#execute("query-named-block-nodes", { flat: true }));
    return nodes.flatMap(({ "node-name": node, image }): FoundDisk[] => {
      if (typeof node !== "string" || !node.startsWith(diskNodePrefix)) return [];
      const sizeBytes = Number(objectOf(image)["virtual-size"]);
      return [{ name: node.slice(diskNodePrefix.length), sizeBytes, ...(devices.get(node) ?? closed) }];
    });
  }

  /** @throws CONFLICT */
  async #freeSlot(): Promise<string> {
    const buses = objectsIn(await this.#execute("query-pci"));
    const slots = buses.flatMap(({ devices }) =>
      objectsIn(devices).flatMap(({ qdev_id: id, pci_bridge: bridge }) =>
        typeof id === "string" && id.startsWith(slotPrefix)
          ? [{ id, isFree: objectsIn(objectOf(bridge)["devices"]).length === 0 }]
          : [],
      ),
    );
    const free = slots.find(({ isFree }) => isFree);
    if (free !== undefined) return free.id;
    const why = slots.length === 0 ? "its process was started without slots for disks" : "all its slots have disks";
    throw new BlixardError("CONFLICT", `${why}, so it gets this one at its next start`);
  }
}

const closed = { device: undefined, limits: { iops: 0, bytesPerSecond: 0 } } as const;
