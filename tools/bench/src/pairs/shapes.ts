/** What is measured, from the flags of the command line: settings of a cluster, and in each of them shapes of load. */
import { type LoadKind, loadKinds, valueBytesMin } from "../load/load-plan.ts";

export const places = ["all", "leader", "followers"] as const;
/** The nodes that clients are spread over. */
export type Place = (typeof places)[number];

const transports = ["iroh", "grpc", "dual"] as const;

export interface Shape {
  readonly kind: LoadKind;
  readonly clients: number;
  readonly valueBytes: number;
  readonly where: Place;
}

export interface Setting {
  readonly transport: string;
  readonly nodes: number;
}

export interface PairOptions {
  readonly settings: readonly Setting[];
  readonly shapes: readonly Shape[];
  readonly rounds: number;
  readonly durationMs: number;
  /** Of load on each side before anything is measured. */
  readonly warmUpMs: number;
  readonly keysPerClient: number;
  readonly uniqueKeys: boolean;
  readonly seed: number;
}

/** Flags of `parseArgs` that choose what is measured. */
export const shapeFlags = {
  load: { type: "string" },
  clients: { type: "string" },
  value: { type: "string" },
  where: { type: "string" },
  transport: { type: "string" },
  nodes: { type: "string" },
  rounds: { type: "string" },
  seconds: { type: "string" },
  "warm-up": { type: "string" },
  keys: { type: "string" },
  "unique-keys": { type: "boolean" },
  seed: { type: "string" },
  full: { type: "boolean" },
  smoke: { type: "boolean" },
} as const;

type Flags = { readonly [Name in keyof typeof shapeFlags]?: string | boolean | undefined };
type Defaults = Readonly<
  Record<"load" | "clients" | "value" | "where" | "transport" | "nodes" | "rounds" | "seconds" | "warm-up", string>
>;

const usual: Defaults = {
  ...{ load: "put,get", clients: "1,64", value: "100", where: "all", transport: "iroh", nodes: "3" },
  ...{ rounds: "5", seconds: "5", "warm-up": "25" },
};
/** Everything that is asked of clients, over the transport and the number of nodes that are the default. */
const full: Defaults = {
  ...{ load: "put,get,mix", clients: "1,16,64,256", value: "100,1024", where: "all", transport: "iroh", nodes: "3" },
  ...{ rounds: "10", seconds: "6", "warm-up": "25" },
};
const smoke: Defaults = { ...usual, load: "put,get", clients: "16", rounds: "2", seconds: "2", "warm-up": "12" };

/** @throws a TypeError whose code parseArgs would use, so that it is told like any other bad flag */
export function pairOptions(flags: Flags): PairOptions {
  const defaults = flags.smoke === true ? smoke : flags.full === true ? full : usual;
  const text = (name: keyof Defaults): string => String(flags[name] ?? defaults[name]);
  const kinds = choices("load", text("load"), loadKinds);
  const wheres = choices("where", text("where"), places);
  const shapes = kinds.flatMap((kind) =>
    numbers("value", text("value"), valueBytesMin).flatMap((valueBytes) =>
      wheres.flatMap((where) =>
        numbers("clients", text("clients"), 1).map((clients): Shape => ({ kind, clients, valueBytes, where })),
      ),
    ),
  );
  const settings = choices("transport", text("transport"), transports).flatMap((transport) =>
    numbers("nodes", text("nodes"), 1).map((nodes): Setting => ({ transport, nodes })),
  );
  return {
    ...{ settings, shapes },
    rounds: one("rounds", text("rounds"), 1),
    durationMs: one("seconds", text("seconds"), 1) * 1_000,
    warmUpMs: one("warm-up", text("warm-up"), 0) * 1_000,
    keysPerClient: one("keys", String(flags.keys ?? 10), 1),
    uniqueKeys: flags["unique-keys"] === true,
    seed: one("seed", String(flags.seed ?? 1), 0),
  };
}

/** Those that the setting has nodes for: one node alone has no followers. */
export function shapesOf({ shapes }: PairOptions, { nodes }: Setting): readonly Shape[] {
  return shapes.filter(({ where }) => nodes > 1 || where !== "followers");
}

export function shapeName({ kind, clients, valueBytes, where }: Shape): string {
  return `${kind} ${valueBytes} B, ${clients} client${clients === 1 ? "" : "s"}${where === "all" ? "" : `, ${where}`}`;
}

const settingSeconds = 40;
const roundExtraSeconds = 1.5;

/** How long it takes, roughly, in seconds. */
export function estimateSeconds(options: PairOptions): number {
  const { settings, rounds, durationMs, warmUpMs } = options;
  const roundSeconds = durationMs / 1_000 + roundExtraSeconds;
  const counts = settings.map((setting) => shapesOf(options, setting).length);
  return counts.reduce(
    (sum, shapes) => sum + settingSeconds + (2 * warmUpMs) / 1_000 + shapes * rounds * 2 * roundSeconds,
    0,
  );
}

function choices<Choice extends string>(flag: string, text: string, known: readonly Choice[]): Choice[] {
  return text.split(",").map((word) => known.find((choice) => choice === word) ?? bad(flag, text, known.join(", ")));
}

function numbers(flag: string, text: string, min: number): number[] {
  return text.split(",").map((word) => {
    const value = Number(word);
    return word !== "" && Number.isSafeInteger(value) && value >= min
      ? value
      : bad(flag, text, `numbers from ${min} on`);
  });
}

function one(flag: string, text: string, min: number): number {
  const [value, ...more] = numbers(flag, text, min);
  return value === undefined || more.length > 0 ? bad(flag, text, "one number") : value;
}

function bad(flag: string, text: string, takes: string): never {
  throw Object.assign(new TypeError(`--${flag} takes ${takes}, not '${text}'`), {
    code: "ERR_PARSE_ARGS_INVALID_OPTION_VALUE",
  });
}
