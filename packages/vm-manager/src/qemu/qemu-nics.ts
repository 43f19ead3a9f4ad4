/** The network cards of a QEMU that runs, over QMP. What it has is asked of it each time: it may be older than this process. */
import { BlixardError, type Clock } from "@blixard/common";
import type { InstanceNics, PluggedNic } from "../driver.ts";
import { bridgeOfSlot, type Nic, nicDevice, nicOfId, nicSlotId, nicSlotPrefix } from "../network/nic.ts";
import type { ExecuteQmp } from "../process/qmp-instance.ts";
import { objectsIn } from "./qmp-answers.ts";
import { unplugDevice } from "./unplug-device.ts";

/** Where QEMU keeps the devices that have names. */
const devicesPath = "/machine/peripheral";

export class QemuNics implements InstanceNics {
  readonly #clock: Clock;
  readonly #execute: ExecuteQmp;

  constructor(clock: Clock, execute: ExecuteQmp) {
    this.#clock = clock;
    this.#execute = execute;
  }

  async list(): Promise<readonly PluggedNic[]> {
    const nics: PluggedNic[] = [];
    const ids = await this.#deviceIds();
    for (const id of ids) {
      const found = nicOfId(id);
      if (found === undefined) continue;
      const mac = await this.#execute("qom-get", { path: `${devicesPath}/${id}`, property: "mac" });
      const bridge = bridgeBehind(found.slot, ids);
      nics.push({ ...found, mac: String(mac), ...(bridge === undefined ? {} : { bridge }) });
    }
    return nics.sort((a, b) => a.slot - b.slot);
  }

  async plug(nic: Nic): Promise<void> {
    if (nic.bridge !== undefined) {
      const why = `its process gets a tap in the bridge ${nic.bridge} at its start alone (nicHotplug)`;
      throw new BlixardError("CONFLICT", `${why}: stop it and start it`);
    }
    const ids = await this.#deviceIds();
    const taken = new Set(ids.map((id) => nicOfId(id)?.slot));
    const slots = ids.flatMap((id) => (id.startsWith(nicSlotPrefix) ? Number(id.slice(nicSlotPrefix.length)) : []));
    const slot = slots.sort((a, b) => a - b).find((each) => !taken.has(each));
    if (slot === undefined) {
      const why = slots.length === 0 ? "its process was started without slots for cards" : "all its slots have cards";
      throw new BlixardError("CONFLICT", `${why}, so it gets this one at its next start`);
    }
    await this.#execute("device_add", nicDevice(nic, slot, `${nicSlotPrefix}${slot}`));
  }

  async unplug({ slot, network }: PluggedNic, signal: AbortSignal): Promise<void> {
    const ids = await this.#deviceIds();
    const id = ids.find((each) => nicOfId(each)?.slot === slot && nicOfId(each)?.network === network);
    if (id === undefined) return;
    if (!ids.includes(nicSlotId(slot, bridgeBehind(slot, ids)))) {
      throw new BlixardError("CONFLICT", "it has no slot to come out of");
    }
    const isThere = async () => (await this.#deviceIds()).includes(id);
    await unplugDevice({ clock: this.#clock, execute: this.#execute }, id, isThere, signal);
  }

  async #deviceIds(): Promise<readonly string[]> {
    const listed = objectsIn(await this.#execute("qom-list", { path: devicesPath }));
    return listed.flatMap(({ name }) => (typeof name === "string" ? [name] : []));
  }
}

/** The bridge behind a slot; undefined for one behind which the switch is. */
function bridgeBehind(slot: number, ids: readonly string[]): string | undefined {
  return ids.flatMap((id) => bridgeOfSlot(id, slot) ?? [])[0];
}
