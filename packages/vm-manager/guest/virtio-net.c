/*
 * A network card of virtio 1.x over PCI (virtio 1.1, 4.1 and 5.1). Its registers are in memory on QEMU and at ports on v86. It is
 * asked for frames and raises no interrupt.
 */
#include "machine.h"

#define QUEUE_SIZE 16
#define HEADER_BYTES 12
#define BUFFER_BYTES (HEADER_BYTES + FRAME_BYTES_MAX + 2)
#define STEPS_MAX 100000

enum { STATUS_ACKNOWLEDGE = 1, STATUS_DRIVER = 2, STATUS_DRIVER_OK = 4, STATUS_FEATURES_OK = 8 };
enum { REGION_COMMON = 1, REGION_NOTIFY = 2, REGION_DEVICE = 4, REGIONS = 5 };
enum {
  COMMON_DRIVER_FEATURES_AT = 8,
  COMMON_DRIVER_FEATURES = 12,
  COMMON_STATUS = 20,
  COMMON_QUEUE = 22,
  COMMON_QUEUE_SIZE = 24,
  COMMON_QUEUE_ENABLE = 28,
  COMMON_QUEUE_NOTIFY = 30,
  COMMON_QUEUE_DESCRIPTORS = 32,
  COMMON_QUEUE_AVAILABLE = 40,
  COMMON_QUEUE_USED = 48,
};

struct descriptor {
  u32 address, address_high, bytes;
  u16 flags, next;
} PACKED;

struct queue {
  struct descriptor descriptors[QUEUE_SIZE] __attribute__((aligned(16)));
  struct {
    u16 flags, index, ring[QUEUE_SIZE];
  } volatile available;
  struct {
    u16 flags, index;
    struct {
      u32 id, bytes;
    } ring[QUEUE_SIZE];
  } volatile used __attribute__((aligned(4)));
  u8 buffers[QUEUE_SIZE][BUFFER_BYTES] __attribute__((aligned(4)));
  u16 used_seen;
  u32 notify_offset;
} __attribute__((aligned(16)));

struct region {
  u32 at;
  u8 is_port, is_there;
};

static struct region regions[REGIONS];
static u32 notify_multiplier;
static struct queue receiving, sending;
static int returned = -1;
u8 own_mac[6];

static u32 pci_read(u32 device, u32 offset) {
  out32(0xcf8, 0x80000000u | device | (offset & 0xfc));
  return in32(0xcfc) >> (offset & 3) * 8;
}

static void pci_write(u32 device, u32 offset, u32 value) {
  out32(0xcf8, 0x80000000u | device | (offset & 0xfc));
  out32(0xcfc, value);
}

static u32 region_read(unsigned region, u32 offset, unsigned bytes) {
  u32 at = regions[region].at + offset;
  if (regions[region].is_port) return bytes == 1 ? in8(at) : bytes == 2 ? in16(at) : in32(at);
  if (bytes == 1) return *(volatile u8 *)at;
  return bytes == 2 ? *(volatile u16 *)at : *(volatile u32 *)at;
}

static void region_write(unsigned region, u32 offset, unsigned bytes, u32 value) {
  u32 at = regions[region].at + offset;
  if (regions[region].is_port) {
    if (bytes == 1) out8(at, value);
    else if (bytes == 2) out16(at, value);
    else out32(at, value);
  } else if (bytes == 1) *(volatile u8 *)at = value;
  else if (bytes == 2) *(volatile u16 *)at = value;
  else *(volatile u32 *)at = value;
}

static u32 pci_find(u32 bus, unsigned depth) {
  for (u32 slot = 0; slot < 32; slot++) {
    for (u32 function = 0; function < 8; function++) {
      u32 device = bus << 16 | slot << 11 | function << 8;
      u32 id = pci_read(device, 0);
      if (id == 0xffffffff) {
        if (function == 0) break;
        continue;
      }
      if (id == 0x10411af4 || id == 0x10001af4) return device;
      u32 header = pci_read(device, 0x0e) & 0xff;
      u32 below = pci_read(device, 0x19) & 0xff;
      u32 found = (header & 0x7f) == 1 && below > bus && depth > 0 ? pci_find(below, depth - 1) : 0;
      if (found != 0) return found;
      if (function == 0 && (header & 0x80) == 0) break;
    }
  }
  return 0;
}

static int find_regions(u32 device) {
  u32 capability = pci_read(device, 0x34) & 0xfc;
  for (unsigned steps = 0; capability != 0 && steps < 48; steps++) {
    u32 head = pci_read(device, capability);
    unsigned kind = head >> 24;
    u32 bar_offset = 0x10 + 4 * (pci_read(device, capability + 4) & 0xff);
    if ((head & 0xff) == 0x09 && kind < REGIONS && !regions[kind].is_there && bar_offset <= 0x24) {
      u32 bar = pci_read(device, bar_offset);
      int is_port = bar & 1;
      int is_wide = !is_port && (bar & 6) == 4;
      if (is_wide && pci_read(device, bar_offset + 4) != 0) return 0;
      u32 base = bar & (is_port ? ~3u : ~15u);
      regions[kind] = (struct region){base + pci_read(device, capability + 8), is_port, 1};
      if (kind == REGION_NOTIFY) notify_multiplier = pci_read(device, capability + 16);
    }
    capability = head >> 8 & 0xfc;
  }
  return regions[REGION_COMMON].is_there && regions[REGION_NOTIFY].is_there && regions[REGION_DEVICE].is_there;
}

static void notify(struct queue *queue, u16 number) {
  barrier();
  region_write(REGION_NOTIFY, queue->notify_offset, 2, number);
}

static void offer(struct queue *queue, u16 buffer) {
  queue->available.ring[queue->available.index % QUEUE_SIZE] = buffer;
  barrier();
  queue->available.index++;
}

static int start_queue(struct queue *queue, u16 number, int device_writes) {
  region_write(REGION_COMMON, COMMON_QUEUE, 2, number);
  if (region_read(REGION_COMMON, COMMON_QUEUE_SIZE, 2) < QUEUE_SIZE) return 0;
  region_write(REGION_COMMON, COMMON_QUEUE_SIZE, 2, QUEUE_SIZE);
  const u32 parts[] = {(u32)queue->descriptors, (u32)&queue->available, (u32)&queue->used};
  for (unsigned at = 0; at < 3; at++) {
    region_write(REGION_COMMON, COMMON_QUEUE_DESCRIPTORS + 8 * at, 4, parts[at]);
    region_write(REGION_COMMON, COMMON_QUEUE_DESCRIPTORS + 8 * at + 4, 4, 0);
  }
  queue->notify_offset = region_read(REGION_COMMON, COMMON_QUEUE_NOTIFY, 2) * notify_multiplier;
  for (u16 at = 0; at < QUEUE_SIZE; at++)
    queue->descriptors[at] = (struct descriptor){(u32)queue->buffers[at], 0, BUFFER_BYTES, device_writes ? 2 : 0, 0};
  queue->available.flags = 1; /* no interrupts */
  region_write(REGION_COMMON, COMMON_QUEUE_ENABLE, 2, 1);
  return 1;
}

int card_start(void) {
  u32 device = pci_find(0, 2);
  if (device == 0) return 0;
  /* Ports, memory, master of the bus; no interrupts. */
  pci_write(device, 0x04, (pci_read(device, 0x04) & 0xffff) | 0x407);
  if (!find_regions(device)) return 0;
  region_write(REGION_COMMON, COMMON_STATUS, 1, 0);
  for (unsigned steps = 0; region_read(REGION_COMMON, COMMON_STATUS, 1) != 0; steps++)
    if (steps > STEPS_MAX) return 0;
  region_write(REGION_COMMON, COMMON_STATUS, 1, STATUS_ACKNOWLEDGE);
  region_write(REGION_COMMON, COMMON_STATUS, 1, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
  /* It has a MAC address (5) and follows version 1 (32). */
  const u32 features[] = {1u << 5, 1};
  for (u32 at = 0; at < 2; at++) {
    region_write(REGION_COMMON, COMMON_DRIVER_FEATURES_AT, 4, at);
    region_write(REGION_COMMON, COMMON_DRIVER_FEATURES, 4, features[at]);
  }
  const u8 known = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK;
  region_write(REGION_COMMON, COMMON_STATUS, 1, known);
  if ((region_read(REGION_COMMON, COMMON_STATUS, 1) & STATUS_FEATURES_OK) == 0) return 0;
  for (unsigned at = 0; at < 6; at++) own_mac[at] = region_read(REGION_DEVICE, at, 1);
  if (!start_queue(&receiving, 0, 1) || !start_queue(&sending, 1, 0)) return 0;
  for (u16 at = 0; at < QUEUE_SIZE; at++) offer(&receiving, at);
  region_write(REGION_COMMON, COMMON_STATUS, 1, known | STATUS_DRIVER_OK);
  notify(&receiving, 0);
  return 1;
}

/* A frame that finds every buffer in use is dropped, as a wire would. */
void card_send(const void *frame, unsigned bytes) {
  if ((u16)(sending.available.index - sending.used.index) >= QUEUE_SIZE || bytes > FRAME_BYTES_MAX) return;
  u16 buffer = sending.available.index % QUEUE_SIZE;
  memset(sending.buffers[buffer], 0, HEADER_BYTES);
  memcpy(sending.buffers[buffer] + HEADER_BYTES, frame, bytes);
  sending.descriptors[buffer].bytes = HEADER_BYTES + bytes;
  offer(&sending, buffer);
  notify(&sending, 1);
}

unsigned card_receive(u8 **frame) {
  if (returned >= 0) {
    offer(&receiving, returned);
    notify(&receiving, 0);
    returned = -1;
  }
  if (receiving.used_seen == receiving.used.index) return 0;
  unsigned at = receiving.used_seen++ % QUEUE_SIZE;
  u32 buffer = receiving.used.ring[at].id, bytes = receiving.used.ring[at].bytes;
  if (buffer >= QUEUE_SIZE) return 0;
  returned = buffer;
  *frame = receiving.buffers[buffer] + HEADER_BYTES;
  return bytes <= HEADER_BYTES || bytes > BUFFER_BYTES ? 0 : bytes - HEADER_BYTES;
}
