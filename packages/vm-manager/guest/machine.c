/* Interrupts, the timer, COM1 and the ways to end; and the few routines that a C library would bring. */
#include "machine.h"

#define COM1 0x3f8
#define VECTORS 0x28

volatile u32 ticks;

struct gate {
  u16 low, selector, flags, high;
} PACKED;
struct table_pointer {
  u16 limit;
  u32 base;
} PACKED;

static struct gate gates[VECTORS];

/* An exception has no handler: it becomes a triple fault, which a host sees as a reset. */
static void set_gate(unsigned vector, void (*handler)(void)) {
  u32 at = (u32)handler;
  gates[vector] = (struct gate){(u16)at, 0x08, 0x8e00, (u16)(at >> 16)};
}

void on_timer(void);
void on_serial(void);
void on_spurious(void);

void machine_start(void) {
  set_gate(0x20, on_timer);
  set_gate(0x24, on_serial);
  set_gate(0x27, on_spurious);
  struct table_pointer pointer = {sizeof gates - 1, (u32)gates};
  __asm__ volatile("lidt %0" ::"m"(pointer));
  /* 8259: vectors 0x20.., everything masked but IRQ 0 (timer) and IRQ 4 (COM1). */
  static const u8 first[] = {0x11, 0x20, 0x04, 0x01}, second[] = {0x11, 0x28, 0x02, 0x01};
  for (unsigned at = 0; at < sizeof first; at++) {
    out8(at == 0 ? 0x20 : 0x21, first[at]);
    out8(at == 0 ? 0xa0 : 0xa1, second[at]);
  }
  out8(0x21, 0xee);
  out8(0xa1, 0xff);
  /* 8254 channel 0, mode 2. */
  const u16 divisor = (1193182 + TICKS_PER_SECOND / 2) / TICKS_PER_SECOND;
  out8(0x43, 0x34);
  out8(0x40, divisor & 0xff);
  out8(0x40, divisor >> 8);
  /* 16550: 115200 8N1, FIFO on, DTR + RTS + OUT2, interrupt on received data. */
  out8(COM1 + 1, 0);
  out8(COM1 + 3, 0x80);
  out8(COM1, 1);
  out8(COM1 + 1, 0);
  out8(COM1 + 3, 3);
  out8(COM1 + 2, 0xc7);
  out8(COM1 + 4, 0x0b);
  out8(COM1 + 1, 1);
}

void machine_sleep(void) {
  /* Interrupts are off until here, so that nothing arrives between the last look and hlt; sti takes effect after hlt began. */
  __asm__ volatile("sti; hlt; cli" ::: "memory");
}

static void halt(void) {
  for (;;) __asm__ volatile("cli; hlt");
}

/* A host without these ports (v86) tells the three ends apart by the two modem lines, see nano-guest.ts. */
void machine_power_off(void) {
  out8(COM1 + 4, 0x0a);   /* DTR down */
  out16(0x604, 0x2000);   /* S5 of the PM1a control register of q35 */
  halt();
}

void machine_reset(void) {
  out8(COM1 + 4, 0x09);   /* RTS down */
  out8(0xcf9, 0x06);      /* reset control register of the chip set */
  halt();
}

void machine_panic(void) {
  out8(0x505, 0x01);      /* pvpanic: PVPANIC_PANICKED */
  halt();
}

int serial_read(void) { return in8(COM1 + 5) & 1 ? in8(COM1) : -1; }

static char *text_at, *text_start, *text_end;

void text_open(char *at, unsigned bytes_max) {
  text_start = text_at = at;
  text_end = at + bytes_max;
}

unsigned text_close(void) {
  unsigned bytes = text_at - text_start;
  text_start = text_at = text_end = 0;
  return bytes;
}

void put_char(char letter) {
  if (text_start != 0) {
    if (text_at < text_end) *text_at++ = letter;
    return;
  }
  while ((in8(COM1 + 5) & 0x20) == 0) {}
  out8(COM1, letter);
}

void put(const char *text) {
  while (*text != 0) put_char(*text++);
}

void put_number(u32 value) {
  char digits[10];
  unsigned count = 0;
  do digits[count++] = '0' + value % 10;
  while ((value /= 10) != 0);
  while (count > 0) put_char(digits[--count]);
}

void put_address(u32 address) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    put_number(address >> shift & 0xff);
    if (shift > 0) put_char('.');
  }
}

void put_mac(const u8 *mac) {
  for (unsigned at = 0; at < 6; at++) {
    if (at > 0) put_char(':');
    put_char("0123456789abcdef"[mac[at] >> 4]);
    put_char("0123456789abcdef"[mac[at] & 15]);
  }
}

void *memcpy(void *to, const void *from, unsigned length) {
  u8 *target = to;
  const u8 *source = from;
  while (length-- > 0) *target++ = *source++;
  return to;
}

void *memset(void *to, int value, unsigned length) {
  u8 *target = to;
  while (length-- > 0) *target++ = (u8)value;
  return to;
}

int memcmp(const void *a, const void *b, unsigned length) {
  const u8 *left = a, *right = b;
  for (; length > 0; length--, left++, right++)
    if (*left != *right) return *left - *right;
  return 0;
}

unsigned text_length(const char *text) {
  unsigned length = 0;
  while (text[length] != 0) length++;
  return length;
}
