/* Ethernet, ARP (RFC 826), IPv4 (RFC 791) without fragments, and ICMP echo (RFC 792). */
#include "net.h"

#define NEIGHBOURS 8
#define PING_TICKS (2 * TICKS_PER_SECOND)
#define TYPE_ARP 0x0806
#define TYPE_IP 0x0800
#define BROADCAST 0xffffffffu

struct configuration own;

static u8 frame_out[FRAME_BYTES_MAX] __attribute__((aligned(4)));
u8 *const ip_content = frame_out + ETHER_BYTES + IP_BYTES;
static struct {
  u32 address;
  u8 mac[6];
} neighbours[NEIGHBOURS];
static unsigned neighbour_next;
static u32 pinged, pinged_ticks;
static int has_card;

u16 read16(const u8 *at) { return at[0] << 8 | at[1]; }
u32 read32(const u8 *at) { return (u32)read16(at) << 16 | read16(at + 2); }
void write16(u8 *at, u16 value) {
  at[0] = value >> 8;
  at[1] = value;
}
void write32(u8 *at, u32 value) {
  write16(at, value >> 16);
  write16(at + 2, value);
}

u16 checksum(const u8 *content, unsigned bytes, u8 protocol, u32 from, u32 to) {
  u32 sum = 0;
  if (protocol != 0) sum = (from >> 16) + (from & 0xffff) + (to >> 16) + (to & 0xffff) + protocol + bytes;
  for (unsigned at = 0; at + 1 < bytes; at += 2) sum += read16(content + at);
  if (bytes & 1) sum += content[bytes - 1] << 8;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum;
}

static void ether_send(const u8 *to, u16 type, unsigned bytes) {
  memcpy(frame_out, to, 6);
  memcpy(frame_out + 6, own_mac, 6);
  write16(frame_out + 12, type);
  card_send(frame_out, ETHER_BYTES + bytes);
}

static const u8 everybody[6] = {255, 255, 255, 255, 255, 255};
static const u8 nobody[6];

static void arp_send(u16 operation, const u8 *mac, const u8 *target_mac, u32 target) {
  u8 *arp = frame_out + ETHER_BYTES;
  write32(arp, 0x00010800);
  write16(arp + 4, 0x0604);
  write16(arp + 6, operation);
  memcpy(arp + 8, own_mac, 6);
  write32(arp + 14, own.address);
  memcpy(arp + 18, target_mac, 6);
  write32(arp + 24, target);
  ether_send(mac, TYPE_ARP, 28);
}

static void neighbour_learn(u32 address, const u8 *mac) {
  unsigned at = 0;
  while (at < NEIGHBOURS && neighbours[at].address != address) at++;
  if (at == NEIGHBOURS) at = neighbour_next++ % NEIGHBOURS;
  neighbours[at].address = address;
  memcpy(neighbours[at].mac, mac, 6);
}

static void arp_receive(const u8 *arp, unsigned bytes) {
  if (bytes < 28 || read32(arp) != 0x00010800 || read32(arp + 24) != own.address || own.address == 0) return;
  neighbour_learn(read32(arp + 14), arp + 8);
  if (read16(arp + 6) == 1) arp_send(2, arp + 8, arp + 8, read32(arp + 14));
}

void ip_send(u8 protocol, u32 to, unsigned bytes) {
  u8 *ip = frame_out + ETHER_BYTES;
  const u8 *mac = everybody;
  if (to != BROADCAST) {
    u32 hop = ((to ^ own.address) & own.mask) == 0 ? to : own.gateway;
    unsigned at = 0;
    while (at < NEIGHBOURS && (neighbours[at].address != hop || hop == 0)) at++;
    if (at == NEIGHBOURS) {
      arp_send(1, everybody, nobody, hop);
      return;
    }
    mac = neighbours[at].mac;
  }
  memset(ip, 0, IP_BYTES);
  ip[0] = 0x45;
  write16(ip + 2, IP_BYTES + bytes);
  ip[6] = 0x40; /* not to be cut */
  ip[8] = 64;
  ip[9] = protocol;
  write32(ip + 12, own.address);
  write32(ip + 16, to);
  write16(ip + 10, checksum(ip, IP_BYTES, 0, 0, 0));
  ether_send(mac, TYPE_IP, IP_BYTES + bytes);
}

static void icmp_receive(const struct packet *packet) {
  if (packet->bytes < 8 || packet->bytes > CONTENT_BYTES_MAX || checksum(packet->content, packet->bytes, 0, 0, 0) != 0) return;
  if (packet->content[0] == 0 && pinged != 0 && packet->from == pinged) {
    put("reply from ");
    put_address(pinged);
    put_char('\n');
    pinged = 0;
  }
  if (packet->content[0] != 8) return;
  memcpy(ip_content, packet->content, packet->bytes);
  ip_content[0] = 0;
  write16(ip_content + 2, 0);
  write16(ip_content + 2, checksum(ip_content, packet->bytes, 0, 0, 0));
  ip_send(PROTOCOL_ICMP, packet->from, packet->bytes);
}

static void ping_send(void) {
  memset(ip_content, 0, 16);
  ip_content[0] = 8;
  write16(ip_content + 2, checksum(ip_content, 16, 0, 0, 0));
  ip_send(PROTOCOL_ICMP, pinged, 16);
}

void ping(u32 address) {
  pinged = address;
  pinged_ticks = 0;
  ping_send();
}

/* Each tick once: an answer to ARP may have to come first. */
static void ping_step(void) {
  if (pinged == 0) return;
  if (++pinged_ticks < PING_TICKS) {
    if (pinged_ticks % 20 == 2) ping_send();
    return;
  }
  put("no reply from ");
  put_address(pinged);
  put_char('\n');
  pinged = 0;
}

static void ip_receive(const u8 *sender, u8 *ip, unsigned bytes) {
  if (bytes < IP_BYTES || ip[0] != 0x45 || checksum(ip, IP_BYTES, 0, 0, 0) != 0) return;
  unsigned length = read16(ip + 2);
  if (length < IP_BYTES || length > bytes || (read16(ip + 6) & 0x3fff) != 0) return;
  struct packet packet = {read32(ip + 12), read32(ip + 16), ip + IP_BYTES, length - IP_BYTES};
  if (packet.to != BROADCAST && packet.to != own.address) return;
  /* Answers go where the question came from. */
  if (own.address != 0) {
    int is_near = ((packet.from ^ own.address) & own.mask) == 0;
    if (is_near || own.gateway != 0) neighbour_learn(is_near ? packet.from : own.gateway, sender);
  }
  if (ip[9] == PROTOCOL_UDP) udp_receive(&packet);
  else if (packet.to == own.address && own.address != 0 && ip[9] == PROTOCOL_ICMP) icmp_receive(&packet);
  else if (packet.to == own.address && own.address != 0 && ip[9] == PROTOCOL_TCP) tcp_receive(&packet);
}

void net_start(void) {
  has_card = card_start();
  if (!has_card) put("no network card\n");
}

int net_step(void) {
  static u32 ticks_seen;
  u8 *frame;
  if (!has_card) return 0;
  unsigned bytes = card_receive(&frame);
  if (bytes > ETHER_BYTES) {
    u16 type = read16(frame + 12);
    if (type == TYPE_ARP) arp_receive(frame + ETHER_BYTES, bytes - ETHER_BYTES);
    if (type == TYPE_IP) ip_receive(frame + 6, frame + ETHER_BYTES, bytes - ETHER_BYTES);
  }
  if (ticks_seen != ticks) {
    ticks_seen = ticks;
    dhcp_step();
    resolve_step();
    ping_step();
    tcp_step();
  }
  return bytes > 0;
}
