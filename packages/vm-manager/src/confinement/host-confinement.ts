/**
 * Which walls this host lets a manager put around the processes of its VMs. They are tried, not assumed: a short process
 * is started behind them and looked at, because what root may do differs between hosts, containers and user namespaces.
 */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { stat } from "node:fs/promises";
import { promisify } from "node:util";
import { type Clock, reasonOf } from "@blixard/common";
import type { DriverKind } from "@blixard/protocol";
import type { Command, Confinement } from "../driver.ts";
import { type ConfinementOptions, defaultConfinement } from "./confinement-options.ts";
import { ControlGroups, type ResourceLimits, removeControlGroups } from "./control-groups.ts";
import { findProgram, launchCommand, unconfined } from "./launcher.ts";

const execFileAsync = promisify(execFile);
const trialTimeoutMs = 20_000;
const trialLimits: ResourceLimits = { memoryBytes: 256 * 1024 * 1024, threads: 64, vcpus: 1 };
const bytesPerMiB = 1024 * 1024;

/** One wall that VMs do not have here. */
export interface MissingWall {
  readonly wall: "descriptors" | "privileges" | "user" | "control groups";
  readonly reason: string;
  /** What it would have stopped. */
  readonly matters: string;
  /** What to do about it. */
  readonly hint: string;
}

export interface ConfinementReport {
  /** The walls that VMs have, for people. */
  readonly walls: readonly string[];
  readonly missing: readonly MissingWall[];
}

export class HostConfinement {
  readonly options: ConfinementOptions;
  readonly report: ConfinementReport;
  readonly #setpriv: string | undefined;
  readonly #groups: ControlGroups | undefined;
  /** True when VMs get users of their own. */
  readonly #users: boolean;

  private constructor(
    options: ConfinementOptions,
    parts: {
      readonly setpriv: string | undefined;
      readonly groups: ControlGroups | undefined;
      readonly users: boolean;
    },
    report: ConfinementReport,
  ) {
    this.options = options;
    this.report = report;
    this.#setpriv = parts.setpriv;
    this.#groups = parts.groups;
    this.#users = parts.users;
  }

  /** Tries what the options ask for. Never rejects for what is missing: the report says it. */
  static async probe(clock: Clock, partial: Partial<ConfinementOptions> = {}): Promise<HostConfinement> {
    const options = { ...defaultConfinement, ...partial };
    if (findProgram("bash") === undefined) {
      const parts = { setpriv: undefined, groups: undefined, users: false };
      return new HostConfinement(options, parts, { walls: [], missing: withoutBash() });
    }
    const { setpriv, ...privileges } = await tryPrivileges();
    const user = await tryUser(options, setpriv);
    const { groups, ...control } = await tryControlGroups(clock, options);
    const results = [{ walls: ["no descriptor of the node"], missing: [] }, privileges, user, control];
    return new HostConfinement(
      options,
      { setpriv, groups, users: user.missing.length === 0 && user.walls.length > 0 },
      { walls: results.flatMap(({ walls }) => walls), missing: results.flatMap(({ missing }) => missing) },
    );
  }

  /** True when VMs get users of their own, where their driver's program can run as another user. */
  get separatesUsers(): boolean {
    return this.#users;
  }

  /** Runs the trial of a driver as a VM's user. Undefined when that works. */
  async tryUser(kind: DriverKind, trial: Command | undefined): Promise<MissingWall | undefined> {
    const { users } = this.options;
    if (trial === undefined || users === "off") return undefined;
    try {
      const groups = kind === "qemu-kvm" ? await kvmGroups() : [];
      await run(trial, { ...unconfined, setpriv: this.#setpriv, uid: users.first, groups });
      return undefined;
    } catch (error) {
      return missingUser(
        `${kind} does not run as another user: ${reasonOf(error)}`,
        "let all users read and run what it needs, or install it elsewhere",
      );
    }
  }

  /** Directories of the control groups of that name, made or not. */
  groupDirectories(name: string): readonly string[] {
    return this.#groups?.directoriesOf(name) ?? [];
  }

  /** Walls that are up already. */
  recall(uid: number | undefined, controlGroups: readonly string[]): Confinement {
    return { uid, groups: [], setpriv: this.#setpriv, controlGroups };
  }

  /** The walls of one VM. `uid` is undefined where VMs have the manager's user. */
  async confine(vm: {
    readonly uid: number | undefined;
    readonly kvm: boolean;
    readonly group: string;
    readonly memoryMiB: number;
    readonly vcpus: number;
  }): Promise<Confinement> {
    return {
      uid: vm.uid,
      groups: vm.uid !== undefined && vm.kvm ? await kvmGroups() : [],
      setpriv: this.#setpriv,
      controlGroups: await this.limit(vm.group, vm),
    };
  }

  /** Makes the group of that name, or takes the one that is there, with the limits of this size. */
  async limit(
    group: string,
    { memoryMiB, vcpus }: { readonly memoryMiB: number; readonly vcpus: number },
  ): Promise<readonly string[]> {
    const { memoryOverheadMiB, threadsMax } = this.options;
    const memoryBytes = (memoryMiB + memoryOverheadMiB) * bytesPerMiB;
    return (await this.#groups?.make(group, { memoryBytes, threads: vcpus + threadsMax, vcpus })) ?? [];
  }
}

/** The groups that a process needs to open /dev/kvm: none when everybody may. */
async function kvmGroups(): Promise<readonly number[]> {
  const { mode, gid } = await stat("/dev/kvm");
  if ((mode & 0o006) === 0o006) return [];
  if ((mode & 0o060) === 0o060 && gid !== 0) return [gid];
  throw new Error("/dev/kvm is for root alone: give it to a group, such as kvm");
}

type Tried = Pick<ConfinementReport, "walls" | "missing">;

function withoutBash(): readonly MissingWall[] {
  return [
    {
      wall: "descriptors",
      reason: "bash is not installed",
      matters: "the process of a VM inherits the open files of the node's stores, and none of the other walls is there",
      hint: "install bash",
    },
  ];
}

async function tryPrivileges(): Promise<Tried & { readonly setpriv: string | undefined }> {
  const missing = (reason: string): Tried => ({
    walls: [],
    missing: [
      {
        wall: "privileges",
        reason,
        matters: "a guest that breaks out of its VM has every privilege of the node",
        hint: "install setpriv, a part of util-linux",
      },
    ],
  });
  const setpriv = findProgram("setpriv");
  if (setpriv === undefined) return { ...missing("setpriv is not installed"), setpriv };
  try {
    await expectStatus({ ...unconfined, setpriv }, [/^NoNewPrivs:\s+1$/m]);
    return { walls: ["no new privileges"], missing: [], setpriv };
  } catch (error) {
    return { ...missing(`setpriv does not work: ${reasonOf(error)}`), setpriv: undefined };
  }
}

function missingUser(reason: string, hint: string): MissingWall {
  const matters =
    "every VM runs as the user of the node: a guest that breaks out of its VM reads the disks and consoles of the others, and the node's key";
  return { wall: "user", reason, matters, hint };
}

async function tryUser({ users }: ConfinementOptions, setpriv: string | undefined): Promise<Tried> {
  const missing = (reason: string, hint: string): Tried => ({ walls: [], missing: [missingUser(reason, hint)] });
  if (users === "off") return missing("it is switched off", "give VMs a range of users");
  if (process.geteuid?.() !== 0) return missing("the node does not run as root", "run the node as root");
  if (setpriv === undefined) return missing("setpriv does not work here", "install setpriv, a part of util-linux");
  const none = /^CapPrm:\s+0+\nCapEff:\s+0+\nCapBnd:\s+0+$/m;
  try {
    const uid = new RegExp(`^Uid:\\s+${users.first}\\s+${users.first}\\s`, "m");
    await expectStatus({ ...unconfined, setpriv, uid: users.first }, [uid, none]);
    return { walls: [`users ${users.first} to ${users.last}, one each, without capabilities`], missing: [] };
  } catch (error) {
    return missing(
      `a process cannot become user ${users.first}: ${reasonOf(error)}`,
      "in a user namespace, give VMs a range of users that is mapped into it",
    );
  }
}

async function tryControlGroups(
  clock: Clock,
  { controlGroup }: ConfinementOptions,
): Promise<Tried & { readonly groups: ControlGroups | undefined }> {
  const missing = (reason: string, hint: string) => ({
    walls: [],
    missing: [
      {
        wall: "control groups" as const,
        reason,
        matters: "a VM's process may take all memory and processor time of this host, from the node too",
        hint,
      },
    ],
    groups: undefined,
  });
  if (controlGroup === "off") return missing("they are switched off", "name a control group for VMs");
  const name = `trial-${randomUUID()}`;
  const groups = await ControlGroups.find(controlGroup);
  if (groups === undefined) return missing("this host has none", "mount cgroup2 at /sys/fs/cgroup");
  try {
    const controlGroups = await groups.make(name, trialLimits);
    const inside = await run({ program: "cat", arguments: ["/proc/self/cgroup"] }, { ...unconfined, controlGroups });
    if (!inside.includes(name)) throw new Error("a process does not enter one");
  } catch (error) {
    return missing(reasonOf(error), "run the node as root, or let it write to a control group and name that");
  } finally {
    await removeControlGroups(clock, groups.directoriesOf(name));
  }
  const walls = [`control groups in ${controlGroup}: ${groups.description}`];
  if (groups.missing.length === 0) return { walls, missing: [], groups };
  const partly = missing(`no controller for ${groups.missing.join(" and ")}`, "switch it on in the kernel");
  return { ...partly, walls, groups };
}

async function expectStatus(confinement: Confinement, patterns: readonly RegExp[]): Promise<void> {
  const status = await run({ program: "cat", arguments: ["/proc/self/status"] }, confinement);
  if (!patterns.every((pattern) => pattern.test(status)))
    throw new Error("the process has other privileges than asked");
}

async function run(command: Command, confinement: Confinement): Promise<string> {
  const launch = launchCommand(command, confinement);
  const { stdout } = await execFileAsync(launch.program, [...launch.arguments], {
    cwd: "/",
    env: { PATH: process.env["PATH"] },
    timeout: trialTimeoutMs,
    killSignal: "SIGKILL",
  });
  return stdout;
}
