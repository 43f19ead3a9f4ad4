/**
 * What the key of each role may ask of a voter, for every method and stream, in each way in which it can be asked. Written by
 * hand, and not taken from the contract: only the names are compared with it.
 */

/** Whose key it is. */
export const roles = ["voter", "witness", "learner", "worker", "removed", "stranger"] as const;
export type WallRole = (typeof roles)[number];

export const ways = {
  own: "directly, in its own name",
  passed: "passed on, in its own name",
  admin: "passed on for an administrator's token",
  system: "passed on for the system",
  key: "passed on for a key that shows a ticket",
  other: "passed on for another node",
  raised: "passed on in its own name, with an administrator's rights",
} as const;
export type Way = keyof typeof ways;
export const wayNames = Object.keys(ways) as Way[];

export const letters = {
  "+": "OK",
  d: "PERMISSION_DENIED",
  a: "UNAUTHENTICATED",
  u: "UNAVAILABLE",
  r: "REMOVED",
  k: "UNKNOWN_PEER",
  t: "TICKET_INVALID",
  c: "CONFLICT",
  m: "MISDIRECTED",
  i: "INVALID_ARGUMENT",
  n: "OPERATION_NOT_FOUND",
  s: "UNSUPPORTED",
  g: "GUEST_UNREACHABLE",
  v: "VOLUME_NOT_FOUND",
} as const;
export type Cell = (typeof letters)[keyof typeof letters];

/**
 * A column for each way, in it a letter for each role, both in the order above. The last column: a person's key that asks a
 * witness, a learner and a worker.
 */
const rows = `
                  own     passed  admin   system  key     other   raised  person
identity.get      ++++++  ++++rk  +uuurk  +uuurk  +uuurk  ddddrk  ddddrk  +++
status.get        ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
leader.transfer   ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
snapshot.take     ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
kv.get            ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
kv.list           ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
kv.put            ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
kv.delete         ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
kv.cas            ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
kv.watch          ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
vm.list           ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
vm.get            ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
vm.explain        ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
vm.watch          ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
vm.create         ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
vm.set            ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
vm.desire         ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
vm.observe        ++++rk  ++++rk  duuurk  duuurk  auuurk  ddddrk  ddddrk  mmm
vm.migrate        ddddrk  ddddrk  cuuurk  cuuurk  auuurk  ddddrk  ddddrk  mmm
vm.observeCopy    ++++rk  ++++rk  duuurk  duuurk  auuurk  ddddrk  ddddrk  mmm
vm.logs           ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
vm.console        ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
vm.forward        ddddrk  ddddrk  guuurk  guuurk  auuurk  ddddrk  ddddrk  mmm
vm.consoleRead    ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
vm.networkState   ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
vm.consoleWrite   ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
vm.exec           ddddrk  ddddrk  suuurk  suuurk  auuurk  ddddrk  ddddrk  mmm
vm.readFile       ddddrk  ddddrk  suuurk  suuurk  auuurk  ddddrk  ddddrk  mmm
vm.writeFile      ddddrk  ddddrk  suuurk  suuurk  auuurk  ddddrk  ddddrk  mmm
vm.attachDisk     ddddrk  ddddrk  cuuurk  cuuurk  auuurk  ddddrk  ddddrk  mmm
vm.detachDisk     ddddrk  ddddrk  cuuurk  cuuurk  auuurk  ddddrk  ddddrk  mmm
vm.changeDisk     ddddrk  ddddrk  cuuurk  cuuurk  auuurk  ddddrk  ddddrk  mmm
volume.list       ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
volume.get        ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
volume.create     ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
volume.resize     ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
volume.delete     ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
volume.createSnapshot  ddddrk  ddddrk  vuuurk  vuuurk  auuurk  ddddrk  ddddrk  mmm
volume.restoreSnapshot ddddrk  ddddrk  vuuurk  vuuurk  auuurk  ddddrk  ddddrk  mmm
volume.deleteSnapshot  ddddrk  ddddrk  vuuurk  vuuurk  auuurk  ddddrk  ddddrk  mmm
volume.read       ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
volume.write      ddddrk  ddddrk  cuuurk  cuuurk  auuurk  ddddrk  ddddrk  mmm
volume.move       ddddrk  ddddrk  vuuurk  vuuurk  auuurk  ddddrk  ddddrk  mmm
volume.observe    ++++rk  ++++rk  duuurk  duuurk  auuurk  ddddrk  ddddrk  mmm
network.list      ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
network.get       ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
network.create    ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
network.delete    ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
securityGroup.list   ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
securityGroup.get    ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
securityGroup.create ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
securityGroup.set    ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
securityGroup.delete ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
image.list        ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
image.get         ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
image.put         ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
image.remove      ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
image.pin         ddddrk  ddddrk  cuuurk  cuuurk  auuurk  ddddrk  ddddrk  mmm
image.collect     ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
image.observe     ++++rk  ++++rk  duuurk  duuurk  auuurk  ddddrk  ddddrk  mmm
blob.write        ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
blob.fetch        ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
blob.stat         ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
blob.read         ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
blob.inspect      ++++rk  ++++rk  duuurk  duuurk  auuurk  ddddrk  ddddrk  mmm
blob.collect      ++++rk  ++++rk  duuurk  duuurk  auuurk  ddddrk  ddddrk  mmm
node.list         ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
node.get          ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
node.update       ++++rk  ++++rk  duuurk  duuurk  auuurk  ddddrk  ddddrk  mmm
node.cordon       ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
scheduling.rebalance ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
node.drain        ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
node.resume       ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
node.evacuate     ddddrk  ddddrk  cuuurk  cuuurk  auuurk  ddddrk  ddddrk  mmm
node.label        ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
scheduling.get    ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
scheduling.set    ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
vm.candidates     ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
capacity.get      ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
quota.list        ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
quota.set         ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
quota.remove      ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
operation.list    ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
operation.get     nnnnrk  nnnnrk  nuuurk  nuuurk  auuurk  ddddrk  ddddrk  mmm
operation.cancel  ddddrk  ddddrk  nuuurk  nuuurk  auuurk  ddddrk  ddddrk  mmm
node.verify       ++++rk  ++++rk  duuurk  duuurk  auuurk  ddddrk  ddddrk  mmm
node.renewLease   ++++rk  ++++rk  duuurk  duuurk  auuurk  ddddrk  ddddrk  mmm
node.addresses    ++++rk  ++++rk  duuurk  duuurk  auuurk  ddddrk  ddddrk  mmm
node.rotateKey    ddddrk  ddddrk  cuuurk  cuuurk  auuurk  ddddrk  ddddrk  mmm
node.nextKey      ddddrk  ddddrk  cuuurk  cuuurk  auuurk  ddddrk  ddddrk  mmm
node.useKey       ddddrk  ddddrk  duuurk  duuurk  auuurk  ddddrk  ddddrk  mmm
log.read          ++++rk  ++++rk  duuurk  duuurk  auuurk  ddddrk  ddddrk  mmm
join.request      tttttt  ddddrk  duuurk  duuurk  tuuurk  ddddrk  ddddrk  mmm
join.list         ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
join.accept       ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
member.list       ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
member.remove     ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
member.setRole    ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
member.vouch      ++++rk  ++++rk  duuurk  duuurk  auuurk  ddddrk  ddddrk  mmm
ticket.create     ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
ticket.list       ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
ticket.revoke     ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
token.create      ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
token.list        ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
token.revoke      ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
token.rotate      ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
token.narrow      ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
token.own         +cccrk  +cccrk  duuurk  duuurk  auuurk  ddddrk  ddddrk  mmm
token.redeem      tttttt  ddddrk  duuurk  duuurk  tuuurk  ddddrk  ddddrk  mmm
cert.list         ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
cert.rotate       ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
debug.log         ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
debug.stateHash   ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
ban.add           ddddrk  ddddrk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
ban.list          ++++rk  ++++rk  +uuurk  +uuurk  auuurk  ddddrk  ddddrk  mmm
`;

/** What is asked by the name of the other kind: a method as a stream, or a stream as a method. */
const wrongKindRow = "iiiiii  iiiirk  iuuurk  iuuurk  iuuurk  ddddrk  ddddrk  mmm";

/** What a member says of another, in its own name: about the first voter that runs. The same directly and passed on. */
const claimRows = `
                                  own     passed
node.update of another            ddddrk  ddddrk
node.verify of another            ddddrk  ddddrk
node.renewLease of another        ddddrk  ddddrk
token.own of another              ddddrk  ddddrk
vm.observe in the name of another ddddrk  ddddrk
vm.observeCopy of another         ddddrk  ddddrk
volume.observe of another         ddddrk  ddddrk
image.observe of another          ddddrk  ddddrk
`;

export interface WallRow {
  readonly cells: Readonly<Record<Way, readonly Cell[]>>;
  readonly person: readonly Cell[];
}

function cellsOf(word: string): Cell[] {
  return [...word].map((letter) => letters[letter as keyof typeof letters]);
}

function wallRow(words: readonly string[]): WallRow {
  const [own, passed, admin, system, key, other, raised] = words.map(cellsOf);
  const none: Cell[] = [];
  const cells = {
    ...{ own: own ?? none, passed: passed ?? none, admin: admin ?? none, system: system ?? none },
    ...{ key: key ?? none, other: other ?? none, raised: raised ?? none },
  };
  return { cells, person: cellsOf(words[wayNames.length] ?? "") };
}

/** Lines of a table: what stands first in each, and the words behind it. */
function linesOf(table: string): [string, string[]][] {
  const [, ...lines] = table.split("\n").filter((line) => line.trim() !== "");
  return lines.map((line) => {
    const words = line.trim().split(/ +/);
    const first = words.findIndex((word) => /^[+adurktcmin]{6}$/.test(word) && !word.includes("."));
    return [words.slice(0, first).join(" "), words.slice(first)];
  });
}

export const callWall: ReadonlyMap<string, WallRow> = new Map(
  linesOf(rows).map(([name, words]) => [name, wallRow(words)]),
);
export const wrongKind: WallRow = wallRow(wrongKindRow.split(/ +/));

/** Each claim about another, with the codes for each role: directly, and passed on. */
export const claimWall: ReadonlyMap<string, Readonly<Record<"own" | "passed", readonly Cell[]>>> = new Map(
  linesOf(claimRows).map(([name, [own = "", passed = ""]]) => [name, { own: cellsOf(own), passed: cellsOf(passed) }]),
);
