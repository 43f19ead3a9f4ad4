/**
 * The settings of a node, each once: its flag, its default, what it means and what values it takes. The flags of the
 * command line, the `BLIXARD_*` variables, the keys of the configuration file and `config view` all come from here.
 */
import { parseHostPort } from "@blixard/common";
import { bridgeNameSchema, frameBytesMin, hostPortSchema, limits, nameSchema, nodeIdSchema } from "@blixard/protocol";
import { type ConfinementOptions, defaultConfinement, type UserRange } from "@blixard/vm-manager/confinement";
import { z } from "zod";
import { vmDriverNames } from "./node/vm-drivers.ts";

/** `host:port` to bind; port 0 takes a free one. */
const bindSchema = z
  .string()
  .refine(
    (text) => parseHostPort(text) !== undefined,
    "use HOST:PORT, for example 127.0.0.1:7001, with a port of at most 65535",
  );

const wholeNumber = (min: number, max: number) => z.int().min(min).max(max);
const path = z.string().min(1);
const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;

const userIdMax = 2 ** 31 - 2;
const { users: defaultUsers } = defaultConfinement;

/** `2000000000-2099999999`; undefined for what is no range of user ids. */
function parseUserRange(text: string): UserRange | undefined {
  const [, first, last] = /^(\d{1,10})-(\d{1,10})$/.exec(text)?.map(Number) ?? [];
  if (first === undefined || last === undefined || first < 1 || first > last || last > userIdMax) return undefined;
  return { first, last };
}

/** `90s`, `5m`, `1h` or `0`; undefined for what is no such time. */
export function parseRestartGraceMs(text: string): number | undefined {
  const [, count, unit = ""] = /^(\d{1,6})([smh]?)$/.exec(text) ?? [];
  const unitMs = { s: 1_000, m: 60_000, h: 3_600_000 }[unit];
  const timeMs = Number(count) * (unitMs ?? 0);
  const isTime = count !== undefined && (unitMs !== undefined || Number(count) === 0);
  return isTime && timeMs <= limits.longLeaseMsMax ? timeMs : undefined;
}

function formatUserRange(users: UserRange | "off"): string {
  return users === "off" ? users : `${users.first}-${users.last}`;
}

export interface Setting {
  readonly schema: z.ZodType;
  /** Undefined: no default; the node works it out, as `help` says. */
  readonly fallback: unknown;
  /** Name of the value in the help; absent for switches. */
  readonly value?: string;
  readonly help: string;
  /** The flag turns it off: `--no-relay`. */
  readonly negated?: true;
}

export const nodeSettings = {
  id: {
    schema: nodeIdSchema.optional(),
    fallback: undefined,
    value: "N",
    help: "number of this node in its cluster, 1 to 65535; a data directory that was used before knows it",
  },
  name: {
    schema: nameSchema.optional(),
    fallback: undefined,
    value: "NAME",
    help: "name of this node (default node-N)",
  },
  bind: {
    schema: bindSchema,
    fallback: "127.0.0.1:7001",
    value: "HOST:PORT",
    help: "address for other nodes and clients: UDP for Iroh, TCP for TLS and gRPC",
  },
  http: {
    schema: z.union([z.literal("off"), bindSchema]).optional(),
    fallback: undefined,
    value: "HOST:PORT|off",
    help: "address of the plain HTTP API (default: the bind port + 1000); off: no API but for this machine, over TLS",
  },
  transport: {
    schema: z.enum(["iroh", "grpc", "dual"]),
    fallback: "iroh",
    value: "KIND",
    help: "how nodes talk: iroh, grpc, or dual (Iroh, and gRPC where Iroh does not work)",
  },
  dataDir: {
    schema: path.optional(),
    fallback: undefined,
    value: "DIR",
    help: "everything that must survive (default: blixard/node-N in the data home of this user)",
  },
  bootstrap: { schema: z.boolean(), fallback: false, help: "start a new cluster; refused on a used data directory" },
  join: {
    schema: z.string().min(1).optional(),
    fallback: undefined,
    value: "TICKET|HOST:PORT",
    help: "join a cluster with a ticket, or by an address where the join policy allows it",
  },
  joinFile: {
    schema: path.optional(),
    fallback: undefined,
    value: "FILE",
    help: "read the ticket from a file, or from standard input for -, which keeps it out of the process list",
  },
  joinPolicy: {
    schema: z.enum(["ticket", "approve", "loopback"]),
    fallback: "loopback",
    value: "POLICY",
    help: "without a ticket join: this user on loopback, and others when accepted (loopback); all when accepted (approve); none (ticket)",
  },
  vmDriver: {
    schema: z.enum(["auto", ...vmDriverNames]),
    fallback: "auto",
    value: "DRIVER",
    help: `what runs VMs: ${["auto", ...vmDriverNames.slice(0, -1)].join(", ")} or ${vmDriverNames.at(-1)} (tests only)`,
  },
  vmDir: {
    schema: path.optional(),
    fallback: undefined,
    value: "DIR",
    help: "images, disks and consoles of VMs, for a file system of their own (default: vms in the data directory)",
  },
  reserveMib: {
    schema: z.union([z.literal(0), wholeNumber(8, 65_536)]),
    fallback: 64,
    value: "N",
    help: "MiB kept free for the node where disks of VMs are on its file system: below that they are paused; 0: none",
  },
  diskCopyMib: {
    schema: wholeNumber(0, 65_536),
    fallback: 0,
    value: "N",
    help: "MiB per second that disks of VMs which move to this node may take of its network; 0: as many as there are",
  },
  allowBridge: {
    schema: z.array(bridgeNameSchema).max(limits.nodeBridgesMax),
    fallback: [],
    value: "BRIDGE,...",
    help: "Linux bridges of this machine that VMs may have network cards in, when the node runs as root (default: none)",
  },
  vmUsers: {
    schema: z.union(
      [z.literal("off"), z.string().refine((text) => parseUserRange(text) !== undefined)],
      "use FIRST-LAST, two user ids from 1 to 2147483646, or off",
    ),
    fallback: formatUserRange(defaultUsers),
    value: "FIRST-LAST|off",
    help: "user ids that VMs get, one each, when the node runs as root; off: VMs run as its own user",
  },
  vmControlGroup: {
    schema: z.union(
      [z.literal("off"), z.string().regex(/^(\/[\w.-]*[\w-][\w.-]*)+$/)],
      "use a path such as /blixard, below the root of the control groups, or off",
    ),
    fallback: defaultConfinement.controlGroup,
    value: "PATH|off",
    help: "control group in which each VM gets one of its own; off: VMs stay in that of the node",
  },
  vmOverheadMib: {
    schema: wholeNumber(64, 65_536),
    fallback: defaultConfinement.memoryOverheadMiB,
    value: "N",
    help: "MiB of memory that the process of a VM may take beside the memory of its guest",
  },
  electionTimeoutMs: {
    schema: wholeNumber(50, 600_000),
    fallback: 1_000,
    value: "N",
    help: "milliseconds without a leader before an election",
  },
  heartbeatMs: {
    schema: wholeNumber(10, 60_000),
    fallback: 200,
    value: "N",
    help: "milliseconds between heartbeats of a leader",
  },
  snapshotEntries: {
    schema: wholeNumber(0, 100_000_000),
    fallback: 10_000,
    value: "N",
    help: "log entries after which a snapshot is taken; 0 never by count",
  },
  maxFrameBytes: {
    schema: wholeNumber(frameBytesMin, 64 * mebibyte),
    fallback: 4 * mebibyte,
    value: "N",
    help: "largest frame between nodes",
  },
  relay: { schema: z.boolean(), fallback: true, negated: true, help: "use no relay servers" },
  relayUrls: {
    schema: z.array(z.url({ protocol: /^https?$/ })).max(16),
    fallback: [],
    value: "URL,...",
    help: "relay servers of your own instead of the public ones",
  },
  discovery: {
    schema: z.boolean(),
    fallback: true,
    negated: true,
    help: "look for members neither on the local network nor by their keys in public DNS",
  },
  peers: {
    schema: z
      .array(z.union([hostPortSchema, z.string().regex(/^dns:[A-Za-z0-9._-]{1,253}$/)], "use HOST:PORT or dns:NAME"))
      .max(64),
    fallback: [],
    value: "HOST:PORT|dns:NAME,...",
    help: "where members may be found when they do not answer at their known addresses",
  },
  dnsServers: {
    schema: z.array(z.string().regex(/^(\[[0-9a-fA-F:]+\]|[0-9.]+)(:\d{1,5})?$/, "use IP or IP:PORT")).max(8),
    fallback: [],
    value: "IP:PORT,...",
    help: "DNS servers for the names in --peers (default: those of this machine)",
  },
  advertise: {
    schema: z.array(hostPortSchema).max(limits.addressesPerNodeMax),
    fallback: [],
    value: "HOST:PORT,...",
    help: "addresses that others use to reach this node (default: those it is bound to); names may be used",
  },
  comeback: {
    schema: z.boolean(),
    fallback: true,
    negated: true,
    help: "end with 76 when the log is damaged, instead of coming back as a learner without it",
  },
  stopVms: { schema: z.boolean(), fallback: false, help: "stop the VMs of this node when the node stops" },
  restartGrace: {
    schema: z
      .string()
      .refine(
        (text) => parseRestartGraceMs(text) !== undefined,
        "use a time such as 90s or 5m, of a day at most, or 0",
      ),
    fallback: "5m",
    value: "TIME",
    help: "for so long the VMs of a node that is stopped wait for it before they are started elsewhere; 0: as when it is lost",
  },
  logFormat: {
    schema: z.enum(["pretty", "json"]).optional(),
    fallback: undefined,
    value: "FORMAT",
    help: "pretty or json (default: pretty on a terminal)",
  },
  logLevel: {
    schema: z.enum(["debug", "info", "warn", "error"]),
    fallback: "info",
    value: "LEVEL",
    help: "debug, info, warn or error",
  },
  debugApi: { schema: z.boolean(), fallback: false, help: "serve /v1/debug: entries of the log and state hashes" },
  allowedHosts: {
    schema: z.array(z.string().min(1).max(253)).max(32),
    fallback: [],
    value: "NAME,...",
    help: "further host names that requests may use",
  },
  tlsCert: {
    schema: path.optional(),
    fallback: undefined,
    value: "FILE",
    help: "certificate of an operator's CA for this node, with its chain (PEM)",
  },
  tlsKey: { schema: path.optional(), fallback: undefined, value: "FILE", help: "the key of that certificate (PEM)" },
  tlsCa: {
    schema: path.optional(),
    fallback: undefined,
    value: "FILE",
    help: "the CA that all nodes must be certified by (PEM)",
  },
} as const satisfies Readonly<Record<string, Setting>>;

export type SettingName = keyof typeof nodeSettings;
export type NodeConfig = { readonly [Name in SettingName]: z.output<(typeof nodeSettings)[Name]["schema"]> };

export const settingNames = Object.keys(nodeSettings) as readonly SettingName[];

/** `electionTimeoutMs` is `--election-timeout-ms`; a negated `relay` is `--no-relay`. */
export function flagOf(name: SettingName): string {
  const setting: Setting = nodeSettings[name];
  return `--${setting.negated ? "no-" : ""}${words(name).join("-")}`;
}

/** `electionTimeoutMs` is `BLIXARD_ELECTION_TIMEOUT_MS`. */
export function variableOf(name: SettingName): string {
  return `BLIXARD_${words(name).join("_").toUpperCase()}`;
}

function words(name: string): string[] {
  return name.split(/(?=[A-Z])/).map((word) => word.toLowerCase());
}

/** What the settings say of the processes of VMs, as the VM manager takes it. */
export function confinementOf(
  config: Pick<NodeConfig, "vmUsers" | "vmControlGroup" | "vmOverheadMib">,
): Partial<ConfinementOptions> {
  return {
    users: parseUserRange(config.vmUsers) ?? "off",
    controlGroup: config.vmControlGroup,
    memoryOverheadMiB: config.vmOverheadMib,
  };
}
