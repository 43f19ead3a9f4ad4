/* UDP: an address by DHCP (RFC 2131), names by DNS (RFC 1035), and an echo (RFC 862). */
#include "net.h"

#define UDP_BYTES 8
#define DHCP_CLIENT 68
#define DHCP_SERVER 67
#define DHCP_COOKIE 0x63825363
#define DHCP_OPTIONS 240
#define DNS_PORT 53
#define DNS_CLIENT 5353
#define NAME_BYTES_MAX 100
#define ECHO_PORT 7
#define SYSTEM_PORTS_END 1024

enum { DISCOVER = 1, OFFER = 2, REQUEST = 3, ACKNOWLEDGE = 5, REFUSE = 6 };

static u32 dhcp_due, lease_ends, transaction;
static struct configuration offered;
static char asked_name[NAME_BYTES_MAX + 1];
static u32 asked_ticks;

void udp_send(u16 from, u32 to, u16 port, unsigned bytes) {
  write16(ip_content, from);
  write16(ip_content + 2, port);
  write16(ip_content + 4, UDP_BYTES + bytes);
  write16(ip_content + 6, 0);
  u16 sum = checksum(ip_content, UDP_BYTES + bytes, PROTOCOL_UDP, own.address, to);
  write16(ip_content + 6, sum == 0 ? 0xffff : sum);
  ip_send(PROTOCOL_UDP, to, UDP_BYTES + bytes);
}

static void dhcp_send(u8 type) {
  u8 *message = ip_content + UDP_BYTES;
  memset(message, 0, 300);
  write32(message, 0x01010600);
  write32(message + 4, transaction);
  write16(message + 10, 0x8000); /* answer to everybody */
  write32(message + 12, own.address);
  memcpy(message + 28, own_mac, 6);
  write32(message + 236, DHCP_COOKIE);
  u8 *at = message + DHCP_OPTIONS;
  *at++ = 53, *at++ = 1, *at++ = type;
  if (type == REQUEST && own.address == 0) {
    *at++ = 50, *at++ = 4, write32(at, offered.address), at += 4;
    *at++ = 54, *at++ = 4, write32(at, offered.server), at += 4;
  }
  *at++ = 55, *at++ = 4, *at++ = 1, *at++ = 3, *at++ = 6, *at++ = 12;
  *at = 255;
  udp_send(DHCP_CLIENT, 0xffffffff, DHCP_SERVER, 300);
}

/* Each tick once. An address is asked for each second, and again when half of its time is over. */
void dhcp_step(void) {
  if ((int)(ticks - dhcp_due) < 0) return;
  if (own.address != 0 && (int)(ticks - lease_ends) >= 0) {
    put("the address is given back\n");
    memset(&own, 0, sizeof own);
  }
  if (transaction == 0) transaction = read32(own_mac + 2) | 1;
  dhcp_due = ticks + TICKS_PER_SECOND;
  dhcp_send(own.address == 0 ? DISCOVER : REQUEST);
}

static void dhcp_receive(const u8 *message, unsigned bytes) {
  if (bytes < DHCP_OPTIONS || message[0] != 2 || read32(message + 4) != transaction) return;
  if (memcmp(message + 28, own_mac, 6) != 0 || read32(message + 236) != DHCP_COOKIE) return;
  struct configuration found = {.address = read32(message + 16)};
  u32 seconds = 3600;
  u8 type = 0;
  for (unsigned at = DHCP_OPTIONS; at + 1 < bytes && message[at] != 255;) {
    if (message[at] == 0) {
      at++;
      continue;
    }
    const u8 *value = message + at + 2;
    unsigned length = message[at + 1];
    if (at + 2 + length > bytes) return;
    if (message[at] == 53 && length == 1) type = value[0];
    if (message[at] == 12 && length < sizeof found.name) memcpy(found.name, value, length);
    if (length >= 4) {
      if (message[at] == 1) found.mask = read32(value);
      if (message[at] == 3) found.gateway = read32(value);
      if (message[at] == 6) found.resolver = read32(value);
      if (message[at] == 51) seconds = read32(value);
      if (message[at] == 54) found.server = read32(value);
    }
    at += 2 + length;
  }
  if (type == OFFER && own.address == 0) {
    offered = found;
    dhcp_send(REQUEST);
  } else if (type == REFUSE) {
    memset(&own, 0, sizeof own);
  } else if (type == ACKNOWLEDGE && found.address != 0) {
    int is_new = own.address != found.address;
    if (seconds > 86400) seconds = 86400;
    own = found;
    dhcp_due = ticks + seconds * TICKS_PER_SECOND / 2;
    lease_ends = ticks + seconds * TICKS_PER_SECOND;
    if (!is_new) return;
    put("address ");
    put_address(own.address);
    put_char('\n');
  }
}

static void dns_ask(void) {
  u8 *message = ip_content + UDP_BYTES;
  memset(message, 0, 12);
  write16(message, 0x626c);
  write16(message + 2, 0x0100); /* recursion, please */
  write16(message + 4, 1);
  u8 *at = message + 12, *length = at++;
  for (const char *letter = asked_name;; letter++) {
    if (*letter != '.' && *letter != 0) {
      *at++ = *letter;
      continue;
    }
    *length = at - length - 1;
    length = at++;
    if (*letter == 0) break;
  }
  *length = 0;
  write32(at, 0x00010001); /* an address of the Internet */
  udp_send(DNS_CLIENT, own.resolver, DNS_PORT, at + 4 - message);
}

static void resolved(u32 address) {
  put(asked_name);
  put(address == 0 ? " has no address" : " is ");
  if (address != 0) put_address(address);
  put_char('\n');
  asked_name[0] = 0;
}

void resolve(const char *name) {
  unsigned length = text_length(name);
  if (length == 0 || length > NAME_BYTES_MAX || own.resolver == 0) {
    put("no resolver\n");
    return;
  }
  memcpy(asked_name, name, length + 1);
  asked_ticks = 0;
  dns_ask();
}

/* Each tick once. */
void resolve_step(void) {
  if (asked_name[0] == 0) return;
  if (++asked_ticks >= 3 * TICKS_PER_SECOND) resolved(0);
  else if (asked_ticks % 50 == 2) dns_ask();
}

/* The offset behind a name; 0 when it goes beyond the message. */
static unsigned name_end(const u8 *message, unsigned at, unsigned bytes) {
  while (at < bytes && message[at] != 0) {
    if ((message[at] & 0xc0) == 0xc0) return at + 2;
    at += message[at] + 1;
  }
  return at < bytes ? at + 1 : 0;
}

static void dns_receive(const u8 *message, unsigned bytes) {
  if (asked_name[0] == 0 || bytes < 12 || read16(message) != 0x626c || (message[2] & 0x80) == 0) return;
  unsigned at = name_end(message, 12, bytes) + 4;
  for (unsigned left = read16(message + 6); left > 0 && at > 4; left--) {
    at = name_end(message, at, bytes);
    if (at == 0 || at + 10 > bytes) break;
    unsigned length = read16(message + at + 8);
    if (at + 10 + length > bytes) break;
    if (read32(message + at) == 0x00010001 && length == 4) {
      resolved(read32(message + at + 10));
      return;
    }
    at += 10 + length;
  }
  resolved(0);
}

/* Not to a port of a system service, which could be an echo too. */
static void echo(const struct packet *packet, u16 to, unsigned bytes) {
  if (to < SYSTEM_PORTS_END || UDP_BYTES + bytes > CONTENT_BYTES_MAX) return;
  memcpy(ip_content + UDP_BYTES, packet->content + UDP_BYTES, bytes);
  udp_send(ECHO_PORT, packet->from, to, bytes);
}

void udp_receive(const struct packet *packet) {
  const u8 *content = packet->content;
  if (packet->bytes < UDP_BYTES || read16(content + 4) < UDP_BYTES || read16(content + 4) > packet->bytes) return;
  u16 from = read16(content), to = read16(content + 2);
  unsigned bytes = read16(content + 4) - UDP_BYTES;
  if (from == DHCP_SERVER && to == DHCP_CLIENT) dhcp_receive(content + UDP_BYTES, bytes);
  if (to == ECHO_PORT && packet->to == own.address && own.address != 0) echo(packet, from, bytes);
  if (from == DNS_PORT && to == DNS_CLIENT && packet->from == own.resolver) dns_receive(content + UDP_BYTES, bytes);
}
