/** Processors and memory of a QEMU that runs, over QMP. What it has is asked of it each time: it may be older than this process. */
import { abortReason, BlixardError, type Clock, pauseFor } from "@blixard/common";
import type { GuestSize, InstanceSize } from "../driver.ts";
import type { ExecuteQmp } from "../process/qmp-instance.ts";
import { memoryDeviceId } from "./qemu-arguments.ts";
import { objectOf, objectsIn } from "./qmp-answers.ts";

/** A guest that listens needs a second or two, and more where it is emulated on a busy machine. */
const guestTimeoutMs = 15_000;
const pollMs = 100;
const mebibyte = 1024 * 1024;

const deviceIdPrefix = "vcpu";
const pluggedPath = "/machine/peripheral/";
const memoryPath = `${pluggedPath}${memoryDeviceId}`;

/** A place for a processor. */
interface Place {
  readonly id: string;
  readonly type: unknown;
  readonly props: Readonly<Record<string, unknown>>;
  /** Undefined while it is empty. */
  readonly path: string | undefined;
}

export class QemuSize implements InstanceSize {
  readonly #clock: Clock;
  readonly #execute: ExecuteQmp;

  constructor(clock: Clock, execute: ExecuteQmp) {
    this.#clock = clock;
    this.#execute = execute;
  }

  async read(): Promise<GuestSize> {
    const vcpus = (await this.#places()).filter(({ path }) => path !== undefined).length;
    const { base, plugged } = await this.#memory();
    return { vcpus, memoryMiB: Math.floor((base + plugged) / mebibyte) };
  }

  async setVcpus(vcpus: number, signal: AbortSignal): Promise<void> {
    const places = await this.#places();
    const taken = places.filter(({ path }) => path !== undefined);
    if (vcpus > places.length) throw new BlixardError("CONFLICT", `it has places for ${places.length}`);
    const empty = places.filter(({ path }) => path === undefined);
    for (const { id, type, props } of empty.slice(0, Math.max(0, vcpus - taken.length))) {
      await this.#execute("device_add", { driver: type, id, ...props });
    }
    const surplus = Math.max(0, taken.length - vcpus);
    const removable = taken.filter(({ path }) => path?.startsWith(pluggedPath));
    if (removable.length < surplus) throw new BlixardError("CONFLICT", "those of its start stay");
    for (const { id } of surplus === 0 ? [] : removable.slice(-surplus)) {
      // It is refused while an earlier request waits for the guest.
      await this.#execute("device_del", { id }).catch(() => {});
    }
    await this.#until(signal, async () => {
      const now = (await this.read()).vcpus;
      return now === vcpus ? undefined : `the guest has ${now} of ${vcpus} vcpus`;
    });
  }

  async setMemory(memoryMiB: number, signal: AbortSignal): Promise<void> {
    const { base } = await this.#memory();
    const wanted = memoryMiB * mebibyte - base;
    const property = { path: memoryPath, property: "requested-size" };
    const requested = await this.#execute("qom-get", property).catch(() => {
      throw new BlixardError("CONFLICT", "its process was started without room for more memory");
    });
    if (requested !== wanted) await this.#execute("qom-set", { ...property, value: wanted });
    await this.#until(signal, async () => {
      const now = (await this.read()).memoryMiB;
      return now === memoryMiB ? undefined : `the guest has ${now} MiB, and ${memoryMiB} MiB are wanted`;
    });
  }

  /** `lacks` says what is not as it is wanted yet. */
  async #until(signal: AbortSignal, lacks: () => Promise<string | undefined>): Promise<void> {
    const untilMs = this.#clock.monotonicMs() + guestTimeoutMs;
    for (;;) {
      const lacking = await lacks();
      if (lacking === undefined) return;
      if (signal.aborted) throw abortReason(signal);
      if (this.#clock.monotonicMs() >= untilMs) throw new BlixardError("DEADLINE_EXCEEDED", lacking);
      await pauseFor(this.#clock, pollMs, signal);
    }
  }

  async #memory(): Promise<{ readonly base: number; readonly plugged: number }> {
    const summary = objectOf(await this.#execute("query-memory-size-summary"));
    return { base: Number(summary["base-memory"]), plugged: Number(summary["plugged-memory"] ?? 0) };
  }

  /** The first one first, in which the guest starts. */
  async #places(): Promise<readonly Place[]> {
    const found = objectsIn(await this.#execute("query-hotpluggable-cpus"));
    return [...found].reverse().map(({ type, props, "qom-path": path }, at) => ({
      ...{ id: `${deviceIdPrefix}${at}`, type, props: objectOf(props) },
      path: typeof path === "string" ? path : undefined,
    }));
  }
}
