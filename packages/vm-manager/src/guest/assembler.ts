/**
 * A very small x86 assembler: bytes, labels and fix-ups, enough to write the guests of this package in TypeScript, so
 * that no binary is checked in and no tool chain is needed. Instruction encodings follow the Intel SDM, volume 2.
 */
import { assert } from "@blixard/common";

interface Fixup {
  readonly at: number;
  readonly label: string;
  /** `low16` and `high16` are the halves of an absolute address, as a descriptor of the IDT wants them. */
  readonly kind: "absolute32" | "relative32" | "relative8" | "relative16" | "low16" | "high16" | "absolute16";
  readonly addend: number;
}

const fixupBytes: Readonly<Record<Fixup["kind"], number>> = {
  absolute32: 4,
  relative32: 4,
  relative8: 1,
  relative16: 2,
  low16: 2,
  high16: 2,
  absolute16: 2,
};

/** Collects bytes that will run at `origin`. Every method appends and returns the assembler. */
export class Assembler {
  readonly #origin: number;
  readonly #bytes: number[] = [];
  readonly #labels = new Map<string, number>();
  readonly #fixups: Fixup[] = [];

  constructor(origin: number) {
    this.#origin = origin;
  }

  get length(): number {
    return this.#bytes.length;
  }

  bytes(...values: readonly number[]): this {
    for (const value of values) {
      assert(Number.isInteger(value) && value >= 0 && value <= 0xff, `not a byte: ${value}`);
      this.#bytes.push(value);
    }
    return this;
  }

  u16(value: number): this {
    return this.bytes(value & 0xff, (value >>> 8) & 0xff);
  }

  u32(value: number): this {
    return this.u16(value & 0xffff).u16(value >>> 16);
  }

  /** ASCII text and a zero byte. */
  text(value: string): this {
    for (const character of value) this.bytes(character.charCodeAt(0));
    return this.bytes(0);
  }

  fill(count: number, value = 0): this {
    for (let at = 0; at < count; at++) this.bytes(value);
    return this;
  }

  align(boundary: number): this {
    while (this.#bytes.length % boundary !== 0) this.bytes(0);
    return this;
  }

  label(name: string): this {
    assert(!this.#labels.has(name), `label ${name} stands twice`);
    this.#labels.set(name, this.#bytes.length);
    return this;
  }

  /** Appends a place that {@link assemble} fills with the address of `label`. */
  reference(kind: Fixup["kind"], label: string, addend = 0): this {
    this.#fixups.push({ at: this.#bytes.length, label, kind, addend });
    return this.fill(fixupBytes[kind]);
  }

  /** `out imm8/dx, al`: writes one constant byte to an I/O port. */
  outByte(port: number, value: number): this {
    this.bytes(0xb0, value); // mov al, value
    if (port <= 0xff) return this.bytes(0xe6, port);
    return this.bytes(0x66, 0xba).u16(port).bytes(0xee); // mov dx, port; out dx, al
  }

  call(label: string): this {
    return this.bytes(0xe8).reference("relative32", label);
  }

  jump(label: string): this {
    return this.bytes(0xe9).reference("relative32", label);
  }

  /** A near conditional jump; `condition` is the low nibble of the opcode: 2 below, 3 not below, 4 equal, 5 not equal. */
  jumpIf(condition: number, label: string): this {
    return this.bytes(0x0f, 0x80 | condition).reference("relative32", label);
  }

  assemble(): Uint8Array {
    const out = Uint8Array.from(this.#bytes);
    const view = new DataView(out.buffer);
    for (const { at, label, kind, addend } of this.#fixups) {
      const offset = this.#labels.get(label);
      assert(offset !== undefined, `label ${label} is missing`);
      const address = this.#origin + offset + addend;
      const relative = offset + addend - (at + fixupBytes[kind]);
      switch (kind) {
        case "absolute32":
          view.setUint32(at, address, true);
          break;
        case "relative32":
          view.setInt32(at, relative, true);
          break;
        case "relative16":
          view.setInt16(at, relative, true);
          break;
        case "relative8":
          assert(relative >= -128 && relative <= 127, `label ${label} is too far for a short jump`);
          view.setInt8(at, relative);
          break;
        case "low16":
        case "absolute16":
          view.setUint16(at, address & 0xffff, true);
          break;
        case "high16":
          view.setUint16(at, address >>> 16, true);
          break;
        default:
          kind satisfies never;
      }
    }
    return out;
  }
}

/** Condition nibbles for {@link Assembler.jumpIf}. */
export const condition = { below: 2, notBelow: 3, equal: 4, notEqual: 5 } as const;
