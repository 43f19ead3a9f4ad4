/** Bans: how a node goes whose key somebody else may hold, and what has to be looked after then. */
import { notApplied } from "@blixard/common";
import type { BanRecord, HeldSecret, ParsedRequestOf, TokenRecord } from "@blixard/protocol";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { votes } from "../peers/reachability.ts";
import { type BanOutcome, vmsHint } from "../state-machine/ban.ts";
import { unnamedVms, vmsRefusal } from "../state-machine/node.ts";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import { isGood } from "../state-machine/token.ts";
import { assertQuorumStays, handOver } from "./member.ts";
import { nodeOf } from "./node.ts";
import { pageOf } from "./page.ts";
import { refuseIfMatch } from "./propose.ts";

/** What these methods use of the node. */
type BanParts = Pick<
  NodeParts,
  "clock" | "options" | "raft" | "transport" | "bulkRoutes" | "stateMachine" | "proposals"
>;

export function banHandlers(parts: BanParts): Pick<Handlers, "ban.add" | "ban.list"> {
  return {
    "ban.add": (request, call) => ban(parts, request, call),
    "ban.list": async (asked) => {
      const { state, version } = parts.stateMachine;
      return pageOf(state.banned.values(), asked, {
        keyOf: ({ endpointId }) => endpointId,
        index: version.value.appliedIndex,
      });
    },
  };
}

/** From the entry on the key is refused by whoever has applied it. The answer waits until the node is no member any more. */
async function ban(parts: BanParts, request: ParsedRequestOf<"ban.add">, call: CallScope) {
  const { id, force, acceptTwoCopies } = request;
  refuseIfMatch(call, "a member");
  const { stateMachine, clock } = parts;
  const node = stateMachine.state.nodes.get(nodeKey(id));
  const { endpointId } =
    node ?? stateMachine.state.removed.get(nodeKey(id)) ?? bannedAs(parts, id) ?? nodeOf(parts, id);
  assertAskedElsewhere(parts, id, call);
  assertVmsNamed(parts, id, acceptTwoCopies);
  if (node !== undefined && votes(node)) assertQuorumStays(parts, id, force);
  if (id === parts.options.nodeId) await handOver(parts, call);
  const joinedUnixMs = node?.joinedUnixMs ?? 0;
  const seen = sortedRecords(stateMachine.state, "tokens").filter((token) => isGood(token, clock.unixMs()));
  const body = { type: "ban.add", nodeId: id, endpointId, acceptTwoCopies } as const;
  const { index, term, value } = await parts.proposals.propose<BanOutcome>(body, call);
  await stateMachine.version.until(() => stateMachine.state.nodes.get(nodeKey(id))?.endpointId !== endpointId, {
    signal: call.signal,
  });
  const { role, vms, tokens, tickets } = value;
  const others = seen.filter((token) => !tokens.includes(token.id));
  return {
    ...{ index, term, nodeId: id, endpointId, role },
    vms: [...vms],
    revoked: { tokens: [...tokens], tickets: [...tickets] },
    secrets: secretsOf({ ...value, others, joinedUnixMs }),
  };
}

const vmsInDetailsMax = 1_000;

/** A VM may get its place there before the entry is applied: then the state machine refuses. @throws CONFLICT */
function assertVmsNamed({ stateMachine }: BanParts, id: number, named: readonly string[]): void {
  const vms = unnamedVms(stateMachine.state, id, named);
  if (vms.length === 0) return;
  const details = { vms: vms.slice(0, vmsInDetailsMax).map(({ name }) => name) };
  throw notApplied("CONFLICT", vmsRefusal(id, vms), { hint: vmsHint(vms), details });
}

function bannedAs({ stateMachine }: BanParts, id: number): BanRecord | undefined {
  return sortedRecords(stateMachine.state, "banned").find(({ nodeId }) => nodeId === id);
}

/** What a compromised node is asked about itself goes through the hands of whoever has it. @throws CONFLICT */
function assertAskedElsewhere({ stateMachine, options }: BanParts, id: number, { meta }: CallScope): void {
  const hint = "Ask another voter, with a token of your own: --address or --context, or on the machine of that voter.";
  if (id === options.nodeId && meta.hops === 0) {
    throw notApplied("CONFLICT", `node ${id} was asked to take itself out as compromised`, { hint });
  }
  if (meta.actor.kind === "token" && stateMachine.state.tokens.get(meta.actor.id)?.node === id) {
    throw notApplied("CONFLICT", `the token ${meta.actor.id} is that of the compromised node itself`, { hint });
  }
}

interface Held extends BanOutcome {
  /** The tokens that were good, without those that the ban has revoked. */
  readonly others: readonly TokenRecord[];
  /** 0 where that is not known. */
  readonly joinedUnixMs: number;
}

/** What the node held, by what it was. Of one that was removed before, nobody knows that any more: it is taken for a voter. */
function secretsOf({ role, vms, tokens, tickets, others, joinedUnixMs }: Held): HeldSecret[] {
  const wasVoter = role === "voter" || role === null;
  const bearer = others.filter(({ tokenHash }) => tokenHash !== undefined).map(({ id }) => id);
  const made = others.filter(({ node, createdUnixMs }) => node === undefined && createdUnixMs >= joinedUnixMs);
  const settled = (kind: HeldSecret["kind"], held: string, ids: readonly string[], next: string): HeldSecret => {
    return { kind, held, ids: [...ids], settled: true, next };
  };
  const open = (kind: HeldSecret["kind"], held: string, ids: readonly string[], next: string): HeldSecret => {
    return { kind, held, ids: [...ids], settled: false, next };
  };
  return [
    settled("node-key", "the private key of the node (node.key)", [], "the key is banned for good"),
    ...(tokens.length === 0 ? [] : [settled("own-token", "tokens of the node itself", tokens, "revoked")]),
    ...(tickets.length === 0
      ? []
      : [
          settled(
            "tickets",
            "what open tickets are checked against",
            tickets,
            "revoked; make others: blixard ticket create",
          ),
        ]),
    ...(wasVoter && bearer.length > 0
      ? [
          open(
            "bearer-tokens",
            "texts of tokens that were shown to it",
            bearer,
            "each of them: blixard token rotate ID",
          ),
        ]
      : []),
    ...(wasVoter && made.length > 0
      ? [
          open(
            "made-by-voter",
            "tokens and keys of its time, which it could make in anybody's name",
            made.map(({ id }) => id),
            "those that nobody knows: blixard token revoke ID",
          ),
        ]
      : []),
    open(
      "state",
      "a copy of the state: keys and values, specifications of VMs, names, addresses, hashes of tokens",
      [],
      "replace the secrets among the values: blixard kv list",
    ),
    ...(vms.length === 0
      ? []
      : [
          open(
            "vms",
            "disks, memory and consoles of the VMs on it",
            vms,
            "switch the machine off; replace the secrets in the guests",
          ),
        ]),
    open(
      "tls-key",
      "the key of an operator's certificate, where it had one (--tls-key)",
      [],
      "revoke the certificate at its CA",
    ),
  ];
}
