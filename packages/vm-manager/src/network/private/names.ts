/**
 * Answers the questions of a guest about names in its private network (DNS, RFC 1035): `web-1`, `web-1.lan.internal`, and the names
 * of addresses. Everything else is refused, so that a guest with another resolver asks that one.
 */
import { formatIpv4 } from "@blixard/common";

/** What there is in a network, as the switch knows it. */
export interface NetworkNames {
  readonly network: string;
  addressOf(name: string): number | undefined;
  /** Of IPv6, as 32 hexadecimal digits. */
  address6Of(name: string): string | undefined;
  nameOf(address: number): string | undefined;
  has(address: number): boolean;
}

const headerBytes = 12;
const nameBytesMax = 255;
const labelBytesMax = 63;
const types = { a: 1, ptr: 12, aaaa: 28, any: 255 } as const;
const internet = 1;
const codes = { ok: 0, formatError: 1, noSuchName: 3, notImplemented: 4, refused: 5 } as const;
/** A VM that is deleted and made anew may have another address. */
const ttlSeconds = 5;
/** The name in the answer is that of the question. */
const pointerToQuestion = 0xc000 | headerBytes;

export const topDomain = "internal";

interface Question {
  readonly labels: readonly string[];
  readonly type: number;
  readonly class: number;
  readonly end: number;
}

/** What one of these networks knows; undefined when none does, and somebody else is to be asked. */
export function answerOwnNames(message: Buffer, networks: Iterable<NetworkNames>): Buffer | undefined {
  for (const names of networks) {
    const answer = answerNames(message, names);
    if (answer !== undefined && ((answer[3] ?? 0) & 0x0f) === codes.ok) return answer;
  }
  return undefined;
}

/** Undefined for what is no question. */
export function answerNames(message: Buffer, names: NetworkNames): Buffer | undefined {
  if (message.length < headerBytes) return undefined;
  const flags = message.readUInt16BE(2);
  if ((flags & 0x8000) !== 0) return undefined;
  const reply = (code: number, question?: Question, record?: Buffer) => {
    const asked = question === undefined ? Buffer.alloc(0) : message.subarray(headerBytes, question.end);
    const header = Buffer.alloc(headerBytes);
    header.writeUInt16BE(message.readUInt16BE(0), 0);
    // An answer with authority; the kind of question and whether recursion was wished stay.
    header.writeUInt16BE(0x8400 | (flags & 0x7900) | code, 2);
    header.writeUInt16BE(question === undefined ? 0 : 1, 4);
    header.writeUInt16BE(record === undefined ? 0 : 1, 6);
    return Buffer.concat([header, asked, record ?? Buffer.alloc(0)]);
  };
  if ((flags & 0x7800) !== 0) return reply(codes.notImplemented);
  const question = message.readUInt16BE(4) === 1 ? readQuestion(message) : undefined;
  if (question === undefined) return reply(codes.formatError);
  const { code, record } = answerTo(question, names);
  return reply(code, question, record);
}

function answerTo(
  { labels, type, class: kind }: Question,
  names: NetworkNames,
): { readonly code: number; readonly record?: Buffer } {
  if (kind !== internet) return { code: codes.refused };
  const asked = labels.map((label) => label.toLowerCase());
  if (asked.slice(-2).join(".") === "in-addr.arpa") return answerToAddress(asked, type, names);
  const own = withoutDomain(asked, names.network);
  if (own === undefined) return { code: codes.refused };
  const [name, ...more] = own;
  // The domain itself is there, and has no address.
  if (name === undefined) return { code: codes.ok };
  const address = more.length === 0 ? names.addressOf(name) : undefined;
  if (address === undefined) return { code: codes.noSuchName };
  const address6 = type === types.aaaa ? names.address6Of(name) : undefined;
  if (address6 !== undefined) return { code: codes.ok, record: recordOf(types.aaaa, Buffer.from(address6, "hex")) };
  const isAsked = type === types.a || type === types.any;
  return isAsked ? { code: codes.ok, record: recordOf(types.a, addressBytes(address)) } : { code: codes.ok };
}

/** What stands before `NETWORK.internal`, or a single word, which no domain was put behind; undefined for other domains. */
function withoutDomain(labels: readonly string[], network: string): readonly string[] | undefined {
  if (labels.length === 1 && labels[0] !== topDomain) return labels;
  if (labels.at(-1) !== topDomain) return undefined;
  if (labels.length === 1) return [];
  return labels.at(-2) === network ? labels.slice(0, -2) : undefined;
}

/** `2.0.1.10.in-addr.arpa` */
function answerToAddress(labels: readonly string[], type: number, names: NetworkNames) {
  const parts = labels.slice(0, -2).map((label) => (/^\d{1,3}$/.test(label) ? Number(label) : 256));
  if (parts.length !== 4 || parts.some((part) => part > 255)) return { code: codes.refused };
  const address = parts.reduceRight((sum, part) => sum * 256 + part, 0);
  if (!names.has(address)) return { code: codes.refused };
  const name = names.nameOf(address);
  if (name === undefined) return { code: codes.noSuchName };
  if (type !== types.ptr && type !== types.any) return { code: codes.ok };
  return { code: codes.ok, record: recordOf(types.ptr, nameBytes([name, names.network, topDomain])) };
}

function readQuestion(message: Buffer): Question | undefined {
  const labels: string[] = [];
  let at = headerBytes;
  for (;;) {
    const length = message[at];
    if (length === undefined || length > labelBytesMax || at - headerBytes > nameBytesMax) return undefined;
    at++;
    if (length === 0) break;
    if (at + length > message.length) return undefined;
    labels.push(message.toString("latin1", at, at + length));
    at += length;
  }
  if (message.length < at + 4) return undefined;
  return { labels, type: message.readUInt16BE(at), class: message.readUInt16BE(at + 2), end: at + 4 };
}

function recordOf(type: number, data: Buffer): Buffer {
  const record = Buffer.alloc(12);
  record.writeUInt16BE(pointerToQuestion, 0);
  record.writeUInt16BE(type, 2);
  record.writeUInt16BE(internet, 4);
  record.writeUInt32BE(ttlSeconds, 6);
  record.writeUInt16BE(data.length, 10);
  return Buffer.concat([record, data]);
}

function addressBytes(address: number): Buffer {
  return Buffer.from(formatIpv4(address).split(".").map(Number));
}

function nameBytes(labels: readonly string[]): Buffer {
  const parts = labels.map((label) => Buffer.concat([Buffer.of(label.length), Buffer.from(label, "latin1")]));
  return Buffer.concat([...parts, Buffer.of(0)]);
}
