/**
 * The nano guest: a multiboot kernel of about 1 KB, made by this file. It is the built-in image and the guest of the
 * driver suite, because it boots in a fraction of a second on every driver and needs no firmware and no disk.
 *
 * On COM1 it prints a banner, then `tick N` about once a second, and answers each line that it gets:
 *   poweroff   drops DTR, then powers off: port 0x604 on QEMU's q35; elsewhere it halts with interrupts off
 *   reboot     drops RTS, then resets: port 0xcf9 on QEMU; elsewhere it halts with interrupts off
 *   panic      tells the pvpanic device (port 0x505), then halts with DTR and RTS up
 *   other      is printed back as `echo: <line>`
 * A host without ACPI ports (v86) tells the three halts apart by the two modem lines.
 *
 * Between events it sleeps in `hlt`, woken by the timer (100 Hz) and by COM1, so an idle guest costs almost no CPU.
 */
import { Assembler, condition } from "./assembler.ts";

/** First line of the serial output. */
export const nanoGuestBanner = "blixard nano guest ready";

const loadAddress = 0x10_0000;
const lineBytesMax = 120;
const stackBytes = 4096;
const ticksPerSecond = 100;
const pitDivisor = Math.round(1_193_182 / ticksPerSecond);
const elfHeaderBytes = 52 + 32;
const serial = 0x3f8;

const interruptHandlers: Readonly<Record<number, string>> = { 32: "onTimer", 36: "onSerial", 39: "onSpurious" };

/** The ELF file of the guest. Pure: each call gives the same bytes, so every node has the same digest. */
export function nanoGuestElf(): Uint8Array {
  return multibootElf((program) => {
    emitStart(program);
    emitMainLoop(program);
    emitLine(program);
    emitPowerStates(program);
    emitRoutines(program);
    emitInterruptHandlers(program);
    emitData(program);
  });
}

/** A multiboot kernel of what `emit` appends, which begins with its first instruction. */
export function multibootElf(emit: (program: Assembler) => void): Uint8Array {
  // The file is loaded as a whole, headers too, so that an offset in the file is an offset in memory.
  const program = new Assembler(loadAddress);
  program.fill(elfHeaderBytes);
  emitMultibootHeader(program);
  emit(program);
  const file = program.assemble();
  writeElfHeader(file, elfHeaderBytes + 12);
  return file;
}

function emitMultibootHeader(program: Assembler): void {
  const magic = 0x1bad_b002;
  program
    .u32(magic)
    .u32(0)
    .u32(-magic >>> 0);
}

function emitStart(program: Assembler): void {
  program.bytes(0xfa, 0xfc); // cli; cld
  program.bytes(0xbc).reference("absolute32", "end", stackBytes); // mov esp, end + stackBytes
  // The loader's descriptor table may be gone (multiboot 3.2), and interrupts reload CS from it: bring our own.
  program.bytes(0x0f, 0x01, 0x15).reference("absolute32", "gdtPointer"); // lgdt
  program.bytes(0xea).reference("absolute32", "flat").u16(0x08); // jmp 0x08:flat
  program.label("flat").bytes(0x66, 0xb8, 0x10, 0x00); // mov ax, 0x10
  program.bytes(0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x8e, 0xe0, 0x8e, 0xe8); // mov ds, es, ss, fs, gs, ax
  program.bytes(0x0f, 0x01, 0x1d).reference("absolute32", "idtPointer"); // lidt
  // 8259: vectors 0x20.., everything masked but IRQ 0 (timer) and IRQ 4 (COM1).
  program.outByte(0x20, 0x11).outByte(0xa0, 0x11).outByte(0x21, 0x20).outByte(0xa1, 0x28);
  program.outByte(0x21, 0x04).outByte(0xa1, 0x02).outByte(0x21, 0x01).outByte(0xa1, 0x01);
  program.outByte(0x21, 0xee).outByte(0xa1, 0xff);
  // 8254 channel 0, mode 2.
  program
    .outByte(0x43, 0x34)
    .outByte(0x40, pitDivisor & 0xff)
    .outByte(0x40, pitDivisor >>> 8);
  // 16550: 115200 8N1, FIFO on, DTR + RTS + OUT2, interrupt on received data.
  program
    .outByte(serial + 1, 0x00)
    .outByte(serial + 3, 0x80)
    .outByte(serial, 0x01)
    .outByte(serial + 1, 0x00);
  program
    .outByte(serial + 3, 0x03)
    .outByte(serial + 2, 0xc7)
    .outByte(serial + 4, 0x0b)
    .outByte(serial + 1, 0x01);
  program.bytes(0xbe).reference("absolute32", "banner").call("print"); // mov esi, banner
}

function emitMainLoop(program: Assembler): void {
  program.label("loop").bytes(0xfa); // cli, so that nothing arrives between the last check and hlt
  program
    .bytes(0x66, 0xba)
    .u16(serial + 5)
    .bytes(0xec, 0xa8, 0x01); // in al, LSR; test al, 1
  program.jumpIf(condition.equal, "noInput");
  program.bytes(0x66, 0xba).u16(serial).bytes(0xec); // in al, RBR
  program.bytes(0x3c, 0x0a).jumpIf(condition.equal, "line"); // cmp al, '\n'
  program.bytes(0x3c, 0x0d).jumpIf(condition.equal, "line"); // cmp al, '\r'
  program.bytes(0x8b, 0x0d).reference("absolute32", "lineLength"); // mov ecx, [lineLength]
  program.bytes(0x83, 0xf9, lineBytesMax).jumpIf(condition.notBelow, "loop"); // a longer line is cut
  program.bytes(0x88, 0x81).reference("absolute32", "line.text"); // mov [ecx + line.text], al
  program.bytes(0xff, 0x05).reference("absolute32", "lineLength"); // inc dword [lineLength]
  program.jump("loop");

  program.label("noInput").bytes(0xa1).reference("absolute32", "ticks"); // mov eax, [ticks]
  program.bytes(0x2b, 0x05).reference("absolute32", "ticksSeen"); // sub eax, [ticksSeen]
  program.bytes(0x83, 0xf8, ticksPerSecond).jumpIf(condition.below, "idle");
  program.bytes(0x83, 0x05).reference("absolute32", "ticksSeen").bytes(ticksPerSecond); // add dword [ticksSeen], 100
  program.bytes(0xff, 0x05).reference("absolute32", "seconds"); // inc dword [seconds]
  program.bytes(0xbe).reference("absolute32", "tickText").call("print");
  program.bytes(0xa1).reference("absolute32", "seconds").call("printNumber");
  program.bytes(0xb0, 0x0a).call("putc").jump("loop");

  program.label("idle").bytes(0xfb, 0xf4).jump("loop"); // sti; hlt (sti takes effect after the next instruction)
}

/** A line is complete: compare it with the commands, else print it back. */
function emitLine(program: Assembler): void {
  program.label("line").bytes(0x8b, 0x0d).reference("absolute32", "lineLength"); // mov ecx, [lineLength]
  program.bytes(0x85, 0xc9).jumpIf(condition.equal, "loop"); // an empty line is nothing: "\r\n" gives one
  program.bytes(0xc6, 0x81).reference("absolute32", "line.text").bytes(0x00); // mov byte [ecx + line.text], 0
  program.bytes(0xc7, 0x05).reference("absolute32", "lineLength").u32(0);
  for (const command of ["poweroff", "reboot", "panic"]) {
    program.bytes(0xbe).reference("absolute32", "line.text"); // mov esi
    program.bytes(0xbf).reference("absolute32", `${command}.text`); // mov edi
    program.call("equal").jumpIf(condition.equal, command);
  }
  program.bytes(0xbe).reference("absolute32", "echoText").call("print");
  program.bytes(0xbe).reference("absolute32", "line.text").call("print");
  program.bytes(0xb0, 0x0a).call("putc").jump("loop");
}

function emitPowerStates(program: Assembler): void {
  program.label("poweroff").bytes(0xbe).reference("absolute32", "poweroffSaid").call("print");
  program.outByte(serial + 4, 0x0a); // DTR down
  program.bytes(0x66, 0xb8, 0x00, 0x20, 0x66, 0xba, 0x04, 0x06, 0x66, 0xef); // outw 0x604, 0x2000: S5 of q35's PM1a
  program.jump("halt");
  program.label("reboot").bytes(0xbe).reference("absolute32", "rebootSaid").call("print");
  program.outByte(serial + 4, 0x09); // RTS down
  program.outByte(0xcf9, 0x06); // reset control register of the chip set
  program.jump("halt");
  program.label("panic").bytes(0xbe).reference("absolute32", "panicSaid").call("print");
  program.outByte(0x505, 0x01); // pvpanic: PVPANIC_PANICKED
  program.label("halt").bytes(0xfa, 0xf4).jump("halt");
}

function emitRoutines(program: Assembler): void {
  // print: the zero-terminated text at esi.
  program.label("print").bytes(0xac, 0x84, 0xc0).jumpIf(condition.equal, "return"); // lodsb; test al, al
  program.call("putc").jump("print");
  program.label("return").bytes(0xc3);
  // putc: al, once the transmitter is free.
  program
    .label("putc")
    .bytes(0x88, 0xc4, 0x66, 0xba)
    .u16(serial + 5); // mov ah, al; mov dx, LSR
  program.label("putcWait").bytes(0xec, 0xa8, 0x20).jumpIf(condition.equal, "putcWait"); // in al, dx; test al, THRE
  program.bytes(0x88, 0xe0, 0x66, 0xba).u16(serial).bytes(0xee, 0xc3); // mov al, ah; out dx, al; ret
  // printNumber: eax in decimal; digits wait on the stack, since division gives the last one first.
  program.label("printNumber").bytes(0x31, 0xc9, 0xbb).u32(10); // xor ecx, ecx; mov ebx, 10
  program.label("divide").bytes(0x31, 0xd2, 0xf7, 0xf3, 0x52, 0x41, 0x85, 0xc0); // xor edx; div ebx; push edx; inc ecx; test eax
  program.jumpIf(condition.notEqual, "divide");
  program.label("digit").bytes(0x58, 0x04, 0x30).call("putc").bytes(0x49); // pop eax; add al, '0'; dec ecx
  program.jumpIf(condition.notEqual, "digit").bytes(0xc3);
  // equal: ZF set when the texts at esi and edi are the same.
  program.label("equal").bytes(0xac, 0x3a, 0x07).jumpIf(condition.notEqual, "return"); // lodsb; cmp al, [edi]
  program.bytes(0x47, 0x84, 0xc0).jumpIf(condition.notEqual, "equal").bytes(0xc3); // inc edi; test al, al
}

function emitInterruptHandlers(program: Assembler): void {
  program.label("onTimer").bytes(0xff, 0x05).reference("absolute32", "ticks"); // inc dword [ticks]
  program.label("onSerial").bytes(0x50).outByte(0x20, 0x20).bytes(0x58); // push eax; end of interrupt; pop eax
  // The 8259 answers with vector 7 for a request that went away before it was acknowledged; it wants no end of interrupt.
  program.label("onSpurious").bytes(0xcf); // iret
}

function emitData(program: Assembler): void {
  program.align(8);
  program.label("gdt").u32(0).u32(0).u32(0x0000_ffff).u32(0x00cf_9a00).u32(0x0000_ffff).u32(0x00cf_9200);
  program.label("idt");
  const vectors = 0x28;
  for (let vector = 0; vector < vectors; vector++) {
    // An exception has no handler: it becomes a triple fault, which a host sees as a reset.
    const handler = interruptHandlers[vector];
    if (handler === undefined) program.u32(0).u32(0);
    else program.reference("low16", handler).u16(0x08).bytes(0x00, 0x8e).reference("high16", handler);
  }
  program
    .label("gdtPointer")
    .u16(3 * 8 - 1)
    .reference("absolute32", "gdt");
  program
    .label("idtPointer")
    .u16(vectors * 8 - 1)
    .reference("absolute32", "idt");
  program.label("banner").text(`${nanoGuestBanner}\n`);
  program.label("tickText").text("tick ");
  program.label("echoText").text("echo: ");
  program.label("poweroff.text").text("poweroff").label("poweroffSaid").text("powering off\n");
  program.label("reboot.text").text("reboot").label("rebootSaid").text("rebooting\n");
  program.label("panic.text").text("panic").label("panicSaid").text("panic on request\n");
  program.align(4);
  program.label("ticks").u32(0).label("ticksSeen").u32(0).label("seconds").u32(0).label("lineLength").u32(0);
  program.label("line.text").fill(lineBytesMax + 8);
  program.align(16).label("end");
}

/** ELF32 with one loadable segment (System V ABI, chapter 4 and 5). The stack is memory after the file. */
function writeElfHeader(file: Uint8Array, entryOffset: number): void {
  const header = new Assembler(0);
  header.bytes(0x7f, 0x45, 0x4c, 0x46, 1, 1, 1).fill(9); // 32 bits, little endian, version 1
  header.u16(2).u16(3).u32(1); // executable, i386, version 1
  header
    .u32(loadAddress + entryOffset)
    .u32(52)
    .u32(0)
    .u32(0); // entry, program headers, no sections, flags
  header.u16(52).u16(32).u16(1).u16(40).u16(0).u16(0); // v86 wants the size of a section header even for none
  header.u32(1).u32(0).u32(loadAddress).u32(loadAddress); // PT_LOAD from offset 0
  header
    .u32(file.length)
    .u32(file.length + stackBytes)
    .u32(7)
    .u32(4096);
  file.set(header.assemble(), 0);
}
