/** The walls of the VMs of one manager: which VM has which user and control group, from its first start to its deletion. */
import { createHash } from "node:crypto";
import type { Clock, Logger } from "@blixard/common";
import type { DriverKind, VmSpec } from "@blixard/protocol";
import type { Confinement } from "../driver.ts";
import type { ChosenDriver } from "../driver-set.ts";
import type { InstanceRecord, RecordedConfinement } from "../instance-record.ts";
import type { ConfinementOptions } from "./confinement-options.ts";
import { removeControlGroups } from "./control-groups.ts";
import { type ConfinementReport, HostConfinement, type MissingWall } from "./host-confinement.ts";
import { unconfined } from "./launcher.ts";
import { VmUsers } from "./vm-users.ts";

type Size = "memoryMiB" | "vcpus";

export interface VmWallsOptions {
  readonly drivers: readonly ChosenDriver[];
  readonly records: readonly InstanceRecord[];
  /** Tells the groups of this manager from those of others on the host. */
  readonly dataDir: string;
  readonly confinement: Partial<ConfinementOptions>;
}

export class VmWalls {
  readonly report: ConfinementReport;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #host: HostConfinement | undefined;
  readonly #users: VmUsers | undefined;
  /** Kinds whose VMs get a user each. */
  readonly #separated: ReadonlySet<DriverKind>;
  readonly #groupPrefix: string;

  private constructor(
    deps: { readonly clock: Clock; readonly logger: Logger },
    parts: {
      readonly host: HostConfinement | undefined;
      readonly users: VmUsers | undefined;
      readonly separated: ReadonlySet<DriverKind>;
      readonly missing: readonly MissingWall[];
      readonly groupPrefix: string;
    },
  ) {
    this.#clock = deps.clock;
    this.#logger = deps.logger;
    this.#host = parts.host;
    this.#users = parts.users;
    this.#separated = parts.separated;
    this.#groupPrefix = parts.groupPrefix;
    this.report = {
      walls: parts.host?.report.walls ?? [],
      missing: [...(parts.host?.report.missing ?? []), ...parts.missing],
    };
  }

  /** Tries the walls of this host. A manager whose drivers start no processes needs none, and tries nothing. */
  static async open(
    deps: { readonly clock: Clock; readonly logger: Logger },
    { drivers, records, dataDir, confinement }: VmWallsOptions,
  ): Promise<VmWalls> {
    const groupPrefix = `vm-${createHash("sha256").update(dataDir).digest("hex").slice(0, 8)}-`;
    const processes = drivers.filter(({ trial }) => trial !== undefined);
    const separated = new Set<DriverKind>();
    if (processes.length === 0) {
      return new VmWalls(deps, { host: undefined, users: undefined, separated, missing: [], groupPrefix });
    }
    const host = await HostConfinement.probe(deps.clock, confinement);
    const missing: MissingWall[] = [];
    for (const { kind, trial } of host.separatesUsers ? processes : []) {
      const lacking = await host.tryUser(kind, trial);
      if (lacking === undefined) separated.add(kind);
      else missing.push(lacking);
    }
    const recorded = records.flatMap(({ vmId, confinement: known }) =>
      known === undefined || known.uid === null ? [] : [[vmId, known.uid] as const],
    );
    const { users: range } = host.options;
    const users = range === "off" ? undefined : new VmUsers(range, recorded);
    const walls = new VmWalls(deps, { host, users, separated, missing, groupPrefix });
    for (const { wall, reason, matters, hint } of walls.report.missing) {
      deps.logger.log("warn", "a wall around VMs is missing", { wall, reason, matters, hint });
    }
    deps.logger.log("info", "walls around VMs", { walls: walls.report.walls });
    return walls;
  }

  /** Puts up the walls of one start. */
  async confine(
    vmId: string,
    kind: DriverKind,
    { memoryMiB, vcpus }: VmSpec,
  ): Promise<{ readonly confinement: Confinement; readonly recorded: RecordedConfinement }> {
    if (this.#host === undefined) return { confinement: unconfined, recorded: { uid: null, controlGroups: [] } };
    const uid = this.#separated.has(kind) ? await this.#users?.assign(vmId) : undefined;
    const kvm = kind === "qemu-kvm";
    const confinement = await this.#host.confine({ uid, kvm, group: this.#groupOf(vmId), memoryMiB, vcpus });
    return { confinement, recorded: { uid: uid ?? null, controlGroups: confinement.controlGroups } };
  }

  /** The limits of a VM that runs become those of another size. */
  async resize(vmId: string, recorded: RecordedConfinement | undefined, size: Pick<VmSpec, Size>): Promise<void> {
    if (recorded === undefined || recorded.controlGroups.length === 0) return;
    await this.#host?.limit(this.#groupOf(vmId), size);
  }

  /** True for a user that VMs of this manager may have: the manager's, or one of the range. */
  isOwnUser(uid: number): boolean {
    const users = this.#host?.options.users ?? "off";
    return uid === process.geteuid?.() || (users !== "off" && uid >= users.first && uid <= users.last);
  }

  /** What a running VM has whose record was lost. */
  recordedOf(vmId: string, uid: number): RecordedConfinement {
    const own = uid === process.geteuid?.();
    if (!own) this.#users?.keep(vmId, uid);
    return { uid: own ? null : uid, controlGroups: this.#host?.groupDirectories(this.#groupOf(vmId)) ?? [] };
  }

  /** The walls of a VM that runs, for another process of it, which needs no device. */
  beside({ uid, controlGroups }: RecordedConfinement): Confinement {
    return this.#host?.recall(uid ?? undefined, controlGroups) ?? unconfined;
  }

  /** Removes the groups of an instance whose process is gone. */
  async release(recorded: RecordedConfinement | undefined): Promise<void> {
    const directories = recorded?.controlGroups ?? [];
    if (await removeControlGroups(this.#clock, directories)) return;
    this.#logger.log("warn", "a control group cannot be removed", { directories });
  }

  /** Another VM may get the user now: nothing that belongs to it is left. */
  forget(vmId: string): void {
    this.#users?.forget(vmId);
  }

  #groupOf(vmId: string): string {
    return `${this.#groupPrefix}${vmId}`;
  }
}
