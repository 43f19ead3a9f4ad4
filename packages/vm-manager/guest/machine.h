/* What the parts of the demo guest share of the machine: 32-bit protected mode, no paging, one processor. */
#pragma once
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;

#define PACKED __attribute__((packed))

static inline void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static inline void out16(u16 port, u16 value) { __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port)); }
static inline void out32(u16 port, u32 value) { __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port)); }
static inline u8 in8(u16 port) { u8 value; __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port)); return value; }
static inline u16 in16(u16 port) { u16 value; __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port)); return value; }
static inline u32 in32(u16 port) { u32 value; __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port)); return value; }

/* The compiler keeps the order of memory accesses; the processor does too, but for a store before a load. */
static inline void barrier(void) { __asm__ volatile("lock; addl $0, (%%esp)" ::: "memory"); }

static inline u16 swap16(u16 value) { return (u16)(value << 8 | value >> 8); }
static inline u32 swap32(u32 value) { return __builtin_bswap32(value); }

void *memcpy(void *to, const void *from, unsigned length);
void *memset(void *to, int value, unsigned length);
int memcmp(const void *a, const void *b, unsigned length);
unsigned text_length(const char *text);

/* machine.c: the timer and COM1. */
#define TICKS_PER_SECOND 100
extern volatile u32 ticks;
void machine_start(void);
/* Sleeps until the next interrupt: the timer or COM1. */
void machine_sleep(void);
void machine_power_off(void);
void machine_reset(void);
void machine_panic(void);
/* -1 without input. */
int serial_read(void);

/* What is written goes to COM1, or into a text of bounded length while one is open. */
void put_char(char letter);
void put(const char *text);
void put_number(u32 value);
void put_address(u32 address); /* host order */
void put_mac(const u8 *mac);
void text_open(char *at, unsigned bytes_max);
/* Bytes that were written since. */
unsigned text_close(void);

/* virtio-net.c: the network card. Frames carry the Ethernet header. */
#define FRAME_BYTES_MAX 1514
extern u8 own_mac[6];
/* 0 when the machine has no card that this guest can drive. */
int card_start(void);
void card_send(const void *frame, unsigned bytes);
/* The bytes of the frame at `*frame`, which stays until the next call; 0 when there is none. */
unsigned card_receive(u8 **frame);
