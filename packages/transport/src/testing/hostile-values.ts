/** MessagePack that a decoder must not follow: too deep, too long, of other types, or not what it claims. */
import { fromUtf8, type Random } from "@blixard/common";
import { encodeValue } from "@blixard/protocol";

const of = (...bytes: readonly number[]) => Uint8Array.from(bytes);
const text = (value: string) => [0xa0 | value.length, ...fromUtf8(value)];

const call = {
  name: "kv.put",
  request: { key: "hostile", value: "1" },
  meta: {
    requestId: "r",
    actor: { kind: "token", id: "admin" },
    access: "admin",
    timeoutMs: 1_000,
    stale: false,
    hops: 0,
  },
};

export const hostileValues: readonly ((random: Random) => Uint8Array)[] = [
  () => encodeValue(call),
  () => encodeValue({ ...call, name: "__proto__" }),
  () => encodeValue({ ...call, meta: { ...call.meta, hops: -1 } }),
  () => encodeValue({ ...call, meta: { ...call.meta, timeoutMs: "1" } }),
  () => encodeValue({ ...call, meta: null }),
  () => encodeValue([call, call]),
  // Nested beyond any stack.
  (random) => new Uint8Array(2_000 + Math.floor(random.next() * 2_000)).fill(0x91),
  (random) => new Uint8Array(3_000 + Math.floor(random.next() * 3_000)).fill(0x81),
  // Lengths that nothing follows.
  () => of(0xdd, 0xff, 0xff, 0xff, 0xff),
  () => of(0xdf, 0xff, 0xff, 0xff, 0xff),
  () => of(0xdb, 0xff, 0xff, 0xff, 0xff, 0x61),
  () => of(0xc6, 0xff, 0xff, 0xff, 0xff),
  () => of(0xc9, 0xff, 0xff, 0xff, 0xff, 1),
  // Extension types: a timestamp, a record definition, a set, an error, a regular expression.
  () => of(0xd6, 0xff, 0, 0, 0, 0),
  () => of(0xd4, 0x72, 0x40, 0x91, ...text("x"), 1),
  () => of(0xd4, 0x73, 0, 0x90),
  () => of(0xd4, 0x65, 0, 0x93, ...text("Error"), ...text("m"), 0xc0),
  () => of(0xd4, 0x78, 0, 0x92, ...text("(a+)+$"), ...text("")),
  () => of(0xc1),
  // Keys: the prototype, doubled, a number, no text.
  () => of(0x81, ...text("__proto__"), 0x81, ...text("admin"), 0xc3),
  () => of(0x82, ...text("name"), ...text("kv.get"), ...text("name"), ...text("kv.put")),
  () => of(0x81, 1, 1),
  () => of(0x81, 0xc0, 1),
  // Text that is no UTF-8: a lone continuation, an overlong form, a surrogate, one that ends early.
  () => of(0xa1, 0x80),
  () => of(0xa2, 0xc0, 0xaf),
  () => of(0xa3, 0xed, 0xa0, 0x80),
  () => of(0xa2, 0xe2, 0x82),
  () => of(0x81, 0xa2, 0xc1, 0x9f, 1),
  // Numbers: NaN, infinity, beyond 2^53.
  () => of(0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0),
  () => of(0xca, 0xff, 0x80, 0, 0),
  () => of(0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
  // Bytes behind the value, and none at all.
  () => Uint8Array.from([...encodeValue(call), 0]),
  () => of(),
  (random) => random.bytes(1 + Math.floor(random.next() * 400)),
];
