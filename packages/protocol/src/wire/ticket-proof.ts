/**
 * How a ticket is shown without its secret. The secret makes an Ed25519 key pair, of which the state of the cluster holds
 * the public half. The holder signs who it is and which node it asks: a node that is no voter finds nothing in its copy of
 * the state with which it could sign, and what passes through it is of no use for another key, or at another node.
 */
import { concatBytes, fromHex, fromUtf8, toHex } from "@blixard/common";
import type { ShownTicket } from "../api/values.ts";
import type { JoinTicket } from "./join-ticket.ts";

/** SHA-256 and Ed25519 (RFC 8032); public keys are 64 hexadecimal digits. */
export interface TicketCrypto {
  sha256(bytes: Uint8Array): Uint8Array;
  publicKeyOf(seed: Uint8Array): string;
  sign(seed: Uint8Array, message: Uint8Array): Uint8Array;
  /** False for a key that is none, too. */
  verify(publicKey: string, message: Uint8Array, signature: Uint8Array): boolean;
}

/** Whose key shows the ticket, and to the node with which key. */
export interface TicketShowing {
  readonly holder: string;
  readonly asked: string;
}

const keyDomain = fromUtf8("blixard/ticket-key/1 ");

/** What the state keeps of a ticket. */
export function proofKeyOf(secret: Uint8Array, crypto: TicketCrypto): string {
  return crypto.publicKeyOf(seedOf(secret, crypto));
}

/** The ticket as `holder` shows it to `asked`. */
export function showTicket(ticket: JoinTicket, { holder, asked }: TicketShowing, crypto: TicketCrypto): ShownTicket {
  const { clusterId, ticketId: id, secret, shownBy } = ticket;
  if (shownBy === "secret") return { id, secret: toHex(secret) };
  const signature = crypto.sign(seedOf(secret, crypto), statement(clusterId, id, { holder, asked }));
  return { id, asked, signature: toHex(signature) };
}

/** Whether the ticket with `proofKey` was shown by `holder`, to the node that `shown` names. */
export function isShownBy(
  shown: Extract<ShownTicket, { readonly signature: string }>,
  ticket: { readonly clusterId: string; readonly proofKey: string; readonly holder: string },
  crypto: TicketCrypto,
): boolean {
  const { id, asked, signature } = shown;
  const message = statement(ticket.clusterId, id, { holder: ticket.holder, asked });
  return crypto.verify(ticket.proofKey, message, fromHex(signature) ?? new Uint8Array());
}

/** A seed of its own use, so that the secret is no key for anything else. The secret is random, so a hash is enough. */
function seedOf(secret: Uint8Array, { sha256 }: TicketCrypto): Uint8Array {
  return sha256(concatBytes([keyDomain, secret]));
}

function statement(clusterId: string, ticketId: string, { holder, asked }: TicketShowing): Uint8Array {
  return fromUtf8(JSON.stringify(["blixard/ticket/1", clusterId, ticketId, holder, asked]));
}
