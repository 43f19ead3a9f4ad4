/**
 * A 64 KiB ROM that asks one question: does KVM finish real work? It enters long mode, counts a loop down and leaves
 * through the isa-debug-exit device with exit code 33. On hosts with nested or emulated KVM, `/dev/kvm` opens and a
 * first instruction runs, and yet guests never get this far.
 */
import { Assembler, condition } from "../guest/assembler.ts";

/** QEMU's exit code for the value that the ROM writes: `(16 << 1) | 1`. */
export const kvmProbeExitCode = 33;

const romBytes = 64 * 1024;
/** The ROM is seen at 0xf0000 too, where a far jump of real mode can reach. */
const romAddress = 0xf_0000;
const loopCount = 20_000_000;
const pageTables = 0x1000;
const debugExitPort = 0xf4;

export function kvmProbeRom(): Uint8Array {
  const program = new Assembler(romAddress);
  emitRealMode(program);
  emitProtectedMode(program);
  emitLongMode(program);
  program.align(8).label("gdt").u32(0).u32(0);
  program.u32(0x0000_ffff).u32(0x00cf_9a00); // 0x08: 32-bit code
  program.u32(0x0000_ffff).u32(0x00cf_9200); // 0x10: data
  program.u32(0x0000_ffff).u32(0x00af_9a00); // 0x18: 64-bit code
  program
    .label("gdtPointer")
    .u16(4 * 8 - 1)
    .reference("absolute32", "gdt");
  const rom = new Uint8Array(romBytes);
  rom.set(program.assemble(), 0);
  // The reset vector, 16 bytes before the end: jmp 0xf000:0x0000.
  rom.set([0xea, 0x00, 0x00, 0x00, 0xf0], romBytes - 16);
  return rom;
}

function emitRealMode(program: Assembler): void {
  program.bytes(0xfa, 0x8c, 0xc8, 0x8e, 0xd8); // cli; mov ax, cs; mov ds, ax
  program.bytes(0x66, 0x0f, 0x01, 0x16).reference("absolute16", "gdtPointer"); // lgdt [gdtPointer], 32-bit base
  program.bytes(0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0); // mov eax, cr0; or al, 1; mov cr0, eax
  program.bytes(0x66, 0xea).reference("absolute32", "protected").u16(0x08); // jmp 0x08:protected
}

function emitProtectedMode(program: Assembler): void {
  program.label("protected").bytes(0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0); // data segments
  // Page tables: one entry each, then one 2 MiB page that maps the first 2 MiB onto themselves.
  program
    .bytes(0xbf)
    .u32(pageTables)
    .bytes(0xb9)
    .u32((3 * 4096) / 4); // mov edi, tables; mov ecx, words
  program.bytes(0x31, 0xc0, 0xfc, 0xf3, 0xab); // xor eax, eax; cld; rep stosd
  const store = (address: number, value: number) => program.bytes(0xc7, 0x05).u32(address).u32(value);
  store(pageTables, (pageTables + 0x1000) | 3);
  store(pageTables + 0x1000, (pageTables + 0x2000) | 3);
  store(pageTables + 0x2000, 0x83);
  program.bytes(0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0); // cr4 |= PAE
  program.bytes(0xb8).u32(pageTables).bytes(0x0f, 0x22, 0xd8); // cr3 = tables
  program.bytes(0xb9).u32(0xc000_0080).bytes(0x0f, 0x32, 0x0d).u32(0x100).bytes(0x0f, 0x30); // EFER |= LME
  program.bytes(0x0f, 0x20, 0xc0, 0x0d).u32(0x8000_0000).bytes(0x0f, 0x22, 0xc0); // cr0 |= PG
  program.bytes(0xea).reference("absolute32", "long").u16(0x18); // jmp 0x18:long
}

function emitLongMode(program: Assembler): void {
  program.label("long").bytes(0x48, 0xc7, 0xc1).u32(loopCount); // mov rcx, count
  program.label("count").bytes(0x48, 0xff, 0xc9).jumpIf(condition.notEqual, "count"); // dec rcx
  program.bytes(0xb0, kvmProbeExitCode >> 1, 0xe6, debugExitPort); // out 0xf4, 16
  program.label("halt").bytes(0xfa, 0xf4).jump("halt");
}
