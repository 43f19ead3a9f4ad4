/** The values that records and requests of several nouns are made of. */
import { z } from "zod";
import { limits } from "../limits.ts";

/** A name of a VM, node or image part: letters, digits, dot, dash; starts with a letter or digit (RFC 1123 label). */
export const nameSchema = z
  .string()
  .min(1)
  .max(limits.nameLengthMax)
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, "use lower-case letters, digits and dashes, as in a host name");

/** A network interface of Linux, as far as `ip` and systemd-networkd take it without quotes. */
export const bridgeNameSchema = z
  .string()
  .regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}$/, "is no name of a Linux bridge, such as br0, of 15 characters at most");

export const nodeIdSchema = z.int().min(1).max(limits.nodeIdMax);
/** An Ed25519 public key as 64 hexadecimal digits: the identity of a node. */
export const endpointIdSchema = z.string().regex(/^[0-9a-f]{64}$/);
/** `host:port`, or `[v6]:port`. */
export const hostPortSchema = z
  .string()
  .max(262)
  .regex(/^(\[[0-9a-fA-F:]+\]|[^\s:[\]/]+):\d{1,5}$/, "use HOST:PORT");
/** Where an endpoint is reached: `host:port`, or the URL of the relay that it listens at. */
export const addressSchema = z.union(
  [hostPortSchema, z.url({ protocol: /^https?$/ }).max(262)],
  "use HOST:PORT or the URL of a relay",
);
export const addressesSchema = z.array(addressSchema).max(limits.addressesPerNodeMax);
/** Nodes, by the keys that they must prove, and where they may be reached. */
export const nodePlacesSchema = z.array(z.object({ endpointId: endpointIdSchema, addresses: z.array(addressSchema) }));
/** The random id of a node's store: 32 hexadecimal digits. */
export const storeIdSchema = z.string().regex(/^[0-9a-f]{32}$/);
export const digestSchema = z.string().regex(/^[0-9a-f]{64}$/);
/** The id of a ticket or a token. */
export const secretIdSchema = z.string().max(64);
/**
 * A ticket as its holder shows it to the node with the key `asked`: by a signature with the key that is made of the
 * secret, or, for a ticket that was made below the level of these, by the secret in hexadecimal.
 */
export const shownTicketSchema = z.union([
  z.object({ id: secretIdSchema, asked: endpointIdSchema, signature: z.string().regex(/^[0-9a-f]{128}$/) }),
  z.object({ id: secretIdSchema, secret: z.string().max(128) }),
]);
export type ShownTicket = Readonly<z.infer<typeof shownTicketSchema>>;

/** Where an entry stands in the log. */
export const logPositionSchema = z.object({ index: z.int().min(0), term: z.int().min(0) });
/** What every write answers: where its command stands in the log. */
export const writtenSchema = z.object({ index: z.int(), term: z.int() });

export const bytesSchema: z.ZodType<Uint8Array, Uint8Array> = z.instanceof(Uint8Array);
/** Bytes in a text. */
export const base64Of = (bytesMax: number) =>
  z
    .string()
    .regex(/^[A-Za-z0-9+/]*={0,2}$/, "is no base64")
    .max(4 * Math.ceil(bytesMax / 3));
export const emptySchema = z.object({}).strict();
