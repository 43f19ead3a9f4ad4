/* The parts of the network stack of the demo guest: IPv4 on one card, addresses by DHCP. Addresses and ports in host order. */
#pragma once
#include "machine.h"

#define PROTOCOL_ICMP 1
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define ETHER_BYTES 14
#define IP_BYTES 20
#define CONTENT_BYTES_MAX (FRAME_BYTES_MAX - ETHER_BYTES - IP_BYTES)

/* What DHCP gave; `address` is 0 before that. */
struct configuration {
  u32 address, mask, gateway, resolver, server;
  char name[64];
};
extern struct configuration own;

/* An IPv4 packet that came in, for this guest. */
struct packet {
  u32 from, to;
  u8 *content;
  unsigned bytes;
};

u16 read16(const u8 *at);
u32 read32(const u8 *at);
void write16(u8 *at, u16 value);
void write32(u8 *at, u32 value);
/* RFC 1071; with the pseudo header of TCP and UDP when `protocol` is given. */
u16 checksum(const u8 *content, unsigned bytes, u8 protocol, u32 from, u32 to);

/* Room for the content of the next packet. */
extern u8 *const ip_content;
/* Sends what stands in `ip_content`. Lost when nobody is known to have the address: who wants an answer asks again. */
void ip_send(u8 protocol, u32 to, unsigned bytes);

void net_start(void);
/* Looks for frames and for what is due. True when there was something. */
int net_step(void);

/* udp.c: DHCP, names by DNS, and an echo on port 7. */
void udp_receive(const struct packet *packet);
void udp_send(u16 from, u32 to, u16 port, unsigned bytes);
void dhcp_step(void);
void resolve(const char *name);
void resolve_step(void);

/* tcp.c: the page, and connections to others. */
void tcp_receive(const struct packet *packet);
void tcp_step(void);
void tcp_connect(u32 address, u16 port);
/* The page says 503 while the guest is ill. */
extern int ill;

void ping(u32 address);
