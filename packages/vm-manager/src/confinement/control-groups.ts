/**
 * A control group for each VM, in every hierarchy that has a controller for it: cgroup v1 has one hierarchy per
 * controller, v2 one for all, and a host may have both (cgroups(7)). The groups stand below the root of a hierarchy and
 * not in the group of this process: a service manager ends all of a service's group, and VMs outlive their manager.
 */
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, sleep, systemErrorCodeOf } from "@blixard/common";

const controllers = ["memory", "pids", "cpu"] as const;
type Controller = (typeof controllers)[number];

/** One process of an instance and its threads, which may take this much. */
export interface ResourceLimits {
  readonly memoryBytes: number;
  readonly threads: number;
  /** Decides about the share of a busy host's processors. */
  readonly vcpus: number;
}

interface Hierarchy {
  readonly version: 1 | 2;
  readonly mountPoint: string;
  readonly controllers: readonly Controller[];
}

const removeRetryMs = 50;
const removeAttemptsMax = 40;

export class ControlGroups {
  readonly #hierarchies: readonly Hierarchy[];
  /** Below the root of each hierarchy, without a slash in front. */
  readonly #parent: string;

  private constructor(hierarchies: readonly Hierarchy[], parent: string) {
    this.#hierarchies = hierarchies;
    this.#parent = parent;
  }

  /** Finds the hierarchies of this host, which `mountInfo` lists; undefined when there are none. */
  static async find(parent: string, mountInfo = "/proc/self/mountinfo"): Promise<ControlGroups | undefined> {
    const hierarchies = await findHierarchies(await readFile(mountInfo, "utf8"));
    return hierarchies.length === 0 ? undefined : new ControlGroups(hierarchies, parent.replace(/^\/+/, ""));
  }

  get missing(): readonly Controller[] {
    return controllers.filter((name) => !this.#hierarchies.some((hierarchy) => hierarchy.controllers.includes(name)));
  }

  /** For people. */
  get description(): string {
    return this.#hierarchies.map(({ version, controllers: all }) => `v${version} ${all.join(" ")}`).join(", ");
  }

  /** The directories of one group, which may not exist yet. */
  directoriesOf(name: string): readonly string[] {
    return this.#hierarchies.map(({ mountPoint }) => join(mountPoint, this.#parent, name));
  }

  /** Makes the group of that name, or takes the one that is there, and sets its limits. */
  async make(name: string, limits: ResourceLimits): Promise<readonly string[]> {
    for (const hierarchy of this.#hierarchies) {
      if (hierarchy.version === 2) await this.#delegate(hierarchy);
      const directory = join(hierarchy.mountPoint, this.#parent, name);
      await mkdir(directory, { recursive: true });
      for (const [file, value] of hierarchy.controllers.map((each) => limitOf(hierarchy.version, each, limits))) {
        await writeFile(join(directory, file), value);
      }
    }
    return this.directoriesOf(name);
  }

  /** In v2 a group has the controllers that each group above it passes on. */
  async #delegate({ mountPoint, controllers: wanted }: Hierarchy): Promise<void> {
    const parts = this.#parent.split("/").filter((part) => part !== "");
    for (let depth = 0; depth <= parts.length; depth++) {
      const directory = join(mountPoint, ...parts.slice(0, depth));
      await mkdir(directory, { recursive: true });
      const path = join(directory, "cgroup.subtree_control");
      const passedOn = (await readFile(path, "utf8")).trim().split(" ");
      const lacking = wanted.filter((name) => !passedOn.includes(name));
      if (lacking.length > 0) await writeFile(path, lacking.map((name) => `+${name}`).join(" "));
    }
  }
}

/** Removes groups whose processes are gone; the kernel takes a moment to see that. False when one is still in use. */
export async function removeControlGroups(clock: Clock, directories: readonly string[]): Promise<boolean> {
  let all = true;
  for (const directory of directories) {
    if (!(await removeOne(clock, directory))) all = false;
  }
  return all;
}

async function removeOne(clock: Clock, directory: string): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    try {
      await rmdir(directory);
      return true;
    } catch (error) {
      const code = systemErrorCodeOf(error);
      if (code === "ENOENT") return true;
      if (code !== "EBUSY" || attempt === removeAttemptsMax) return false;
      await sleep(clock, removeRetryMs);
    }
  }
}

/** cgroup-v1/memory.rst, cgroup-v1/pids.rst and cgroup-v2.rst of the kernel's documentation. */
function limitOf(version: 1 | 2, controller: Controller, limits: ResourceLimits): readonly [string, string] {
  switch (controller) {
    case "memory":
      return [version === 1 ? "memory.limit_in_bytes" : "memory.max", `${limits.memoryBytes}`];
    case "pids":
      return ["pids.max", `${limits.threads}`];
    case "cpu":
      return version === 1
        ? ["cpu.shares", `${Math.min(262_144, 1_024 * limits.vcpus)}`]
        : ["cpu.weight", `${Math.min(10_000, 100 * limits.vcpus)}`];
    default:
      return controller satisfies never;
  }
}

async function findHierarchies(mountInfo: string): Promise<readonly Hierarchy[]> {
  const found: Hierarchy[] = [];
  const taken = new Set<Controller>();
  // v1 first: a controller belongs to one hierarchy, and the file of v2 does not list it then.
  for (const mounted of parseMounts(mountInfo)) {
    const offered =
      mounted.version === 1 ? mounted.options : await controllersAt(join(mounted.mountPoint, "cgroup.controllers"));
    const usable = controllers.filter((name) => offered.includes(name) && !taken.has(name));
    if (usable.length === 0) continue;
    for (const name of usable) taken.add(name);
    found.push({ version: mounted.version, mountPoint: mounted.mountPoint, controllers: usable });
  }
  return found;
}

interface Mount {
  readonly version: 1 | 2;
  readonly mountPoint: string;
  readonly options: readonly string[];
}

/** proc(5): id, parent, device, root, mount point, options, optional fields, `-`, type, source, super options. */
export function parseMounts(text: string): readonly Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split("\n")) {
    const [front = "", back = ""] = line.split(" - ");
    const mountPoint = front.split(" ")[4];
    const [type, , options = ""] = back.split(" ");
    if (mountPoint === undefined || (type !== "cgroup" && type !== "cgroup2")) continue;
    mounts.push({ version: type === "cgroup" ? 1 : 2, mountPoint, options: options.split(",") });
  }
  return mounts.sort((a, b) => a.version - b.version);
}

async function controllersAt(path: string): Promise<readonly string[]> {
  return (await readFile(path, "utf8").catch(() => "")).trim().split(" ");
}
