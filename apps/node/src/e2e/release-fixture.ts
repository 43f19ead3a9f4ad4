/** Data directories that an earlier release left, and what it said of them over HTTP (`tools/release-fixtures`). */
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

type Item = Readonly<Record<string, unknown>>;

/** A node that runs, by its ready line. */
interface RunningNode {
  readonly ready: { readonly http: string };
}

export interface ReleaseFacts {
  readonly clusterId: string;
  readonly appliedIndex: number;
  /** After the entry at `appliedIndex`. */
  readonly stateHash: string;
  /** Of node 1. */
  readonly snapshotIndex: number;
  readonly kv: readonly Item[];
  readonly vms: readonly Item[];
  readonly images: readonly Item[];
  readonly nodes: readonly Item[];
  readonly members: readonly Item[];
  readonly tickets: readonly Item[];
  readonly tokens: readonly Item[];
}

export interface ReleaseFixture extends AsyncDisposable {
  /** A copy of the data directory of node `id`. */
  dataDirOf(id: number): string;
  readonly facts: ReleaseFacts;
}

/** Unpacks `single` or `cluster` of a release into a temporary directory, which is removed at the end. */
export async function unpackFixture(release: string, name: string): Promise<ReleaseFixture> {
  const folder = fileURLToPath(new URL(`../../../../tools/release-fixtures/${release}/`, import.meta.url));
  const root = await mkdtemp(join(tmpdir(), "blixard-release-"));
  execFileSync("tar", ["-xzf", join(folder, `${name}.tar.gz`), "-C", root]);
  return {
    facts: JSON.parse(await readFile(join(folder, `${name}.facts.json`), "utf8")),
    dataDirOf: (id) => join(root, `node-${id}`),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  };
}

/** Calls the HTTP API of a node with a token: a PUT when there is something to put. */
export async function callApi(node: RunningNode, token: string, path: string, put?: object): Promise<Item> {
  const response = await fetch(`${node.ready.http}${path}`, {
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    ...(put === undefined ? {} : { method: "PUT", body: JSON.stringify(put) }),
  });
  const answer = (await response.json()) as Item;
  if (!response.ok) throw new Error(`${path} was answered ${response.status}: ${JSON.stringify(answer)}`);
  return answer;
}

/** What a start on another machine, at other ports and under another release does not change. */
const lasting = {
  vms: ["name", "vmId", "spec", "desired", "node", "fencingEpoch", "placement", "createdUnixMs", "createdIndex"],
  nodes: ["id", "name", "endpointId", "role", "incarnation", "storeId", "joinedUnixMs", "cordoned"],
};

function only(records: unknown, fields: readonly string[]): readonly Item[] {
  return (records as readonly Item[]).map((record) =>
    Object.fromEntries(fields.map((field) => [field, record[field]])),
  );
}

/** The facts without what may change when the nodes are started again. */
export function lastingFacts({ stateHash, kv, vms, images, nodes, members, tickets, tokens }: ReleaseFacts): object {
  return {
    ...{ stateHash, kv, members, tickets },
    // Of an image that one node held, this release has another one fetch a copy.
    images: images.map(({ sources: _, ...image }) => image),
    // This release lists the token of each voter too, and says of the first administrator's whose it is.
    tokens: tokens.filter(({ id }) => !/^node-\d+$/.test(String(id))).map(({ node: _, ...token }) => token),
    vms: only(vms, lasting.vms),
    nodes: only(nodes, lasting.nodes),
  };
}

/** The same of a node that runs. `kv` holds the keys that the facts know: others may have been written since. */
export async function observeFacts(node: RunningNode, token: string, facts: ReleaseFacts): Promise<object> {
  const items = async (path: string) => (await callApi(node, token, path))["items"] as readonly Item[];
  const known = new Set(facts.kv.map(({ key }) => key));
  return lastingFacts({
    ...facts,
    stateHash: String((await callApi(node, token, `/v1/debug/statehash?index=${facts.appliedIndex}`))["hash"]),
    kv: (await items("/v1/kv?limit=10000")).filter(({ key }) => known.has(key)),
    vms: await items("/v1/vms"),
    images: await items("/v1/images"),
    nodes: await items("/v1/nodes"),
    members: only(await items("/v1/members"), ["id", "name", "endpointId", "role"]),
    tickets: await items("/v1/tickets"),
    tokens: await items("/v1/tokens"),
  });
}
