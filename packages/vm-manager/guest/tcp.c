/* TCP (RFC 9293) for what a demo needs: connections with one question and one answer, each of one segment, and the page. */
#include "net.h"

#define TCP_BYTES 20
#define CONNECTIONS 16
#define HTTP_PORT 80
#define SEGMENT_BYTES_MAX 1200
#define WINDOW 4096
#define RESEND_TICKS 50
#define RESENDS_MAX 8
#define IDLE_TICKS (30 * TICKS_PER_SECOND)

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };
enum state { CLOSED, OPENING, OPENED, ASKED, ANSWERED, LEAVING };

static struct connection {
  enum state state;
  u32 address;
  u16 port, own_port;
  int is_outgoing;
  u32 sent, acknowledged, received; /* next sequence number to send, first one not acknowledged, next one to come */
  u32 due, idle_since;
  unsigned resends;
  u8 is_ending;                     /* the answer ends with FIN */
  u32 line;                         /* last four bytes of the question */
  unsigned answer_bytes;
  char answer[SEGMENT_BYTES_MAX];
} connections[CONNECTIONS];

static u32 visits, first_sequence, next_port = 40000;
int ill;

static void send(u16 own_port, u32 address, u16 port, u8 flags, u32 sequence, u32 acknowledged, const char *text, unsigned bytes) {
  u8 *segment = ip_content;
  memset(segment, 0, TCP_BYTES);
  write16(segment, own_port);
  write16(segment + 2, port);
  write32(segment + 4, sequence);
  write32(segment + 8, flags & ACK ? acknowledged : 0);
  segment[12] = TCP_BYTES / 4 << 4;
  segment[13] = flags;
  write16(segment + 14, WINDOW);
  memcpy(segment + TCP_BYTES, text, bytes);
  write16(segment + 16, checksum(segment, TCP_BYTES + bytes, PROTOCOL_TCP, own.address, address));
  ip_send(PROTOCOL_TCP, address, TCP_BYTES + bytes);
}

/* Everything that was sent and not acknowledged, anew. */
static void transmit(struct connection *one) {
  if (one->state == OPENING) {
    send(one->own_port, one->address, one->port, one->is_outgoing ? SYN : SYN | ACK, one->sent - 1, one->received, 0, 0);
    return;
  }
  unsigned bytes = one->sent - one->acknowledged - one->is_ending;
  if (one->state != ANSWERED || (int)bytes < 0 || bytes > one->answer_bytes) bytes = 0;
  int ends = one->state == ANSWERED && one->is_ending && one->sent != one->acknowledged;
  u8 flags = ACK | (bytes > 0 ? PSH : 0) | (ends ? FIN : 0);
  u32 sequence = ends || bytes > 0 ? one->acknowledged : one->sent;
  send(one->own_port, one->address, one->port, flags, sequence, one->received, one->answer + one->answer_bytes - bytes, bytes);
}

static void transmit_first(struct connection *one) {
  one->resends = 0;
  one->due = ticks + RESEND_TICKS;
  transmit(one);
}

static void write_page(void) {
  put("<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Blixard demo guest</title>\n");
  put("<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:3rem auto;padding:0 1rem}"
      "dt{float:left;width:8rem;color:#777}</style>\n<h1>Hello from ");
  put(own.name[0] == 0 ? "a virtual machine" : own.name);
  put("</h1>\n<p>This page is served by the demo guest of Blixard, a kernel of a few kilobytes.</p>\n<dl>");
  put("<dt>address</dt><dd>");
  put_address(own.address);
  put("</dd>\n<dt>network card</dt><dd>");
  put_mac(own_mac);
  put("</dd>\n<dt>running for</dt><dd>");
  put_number(ticks / TICKS_PER_SECOND);
  put(" s</dd>\n<dt>visits</dt><dd>");
  put_number(++visits);
  put("</dd></dl>\n</html>\n");
}

static void answer(struct connection *one) {
  static char page[SEGMENT_BYTES_MAX - 200];
  text_open(page, sizeof page);
  if (ill) put("ill\n");
  else write_page();
  unsigned bytes = text_close();
  text_open(one->answer, sizeof one->answer);
  put(ill ? "HTTP/1.1 503 Service Unavailable\r\n" : "HTTP/1.1 200 OK\r\n");
  put(ill ? "Content-Type: text/plain\r\n" : "Content-Type: text/html; charset=utf-8\r\n");
  put("Connection: close\r\nContent-Length: ");
  put_number(bytes);
  put("\r\n\r\n");
  one->answer_bytes = text_close();
  memcpy(one->answer + one->answer_bytes, page, bytes);
  one->answer_bytes += bytes;
  one->state = ANSWERED;
  one->is_ending = 1;
  one->sent += one->answer_bytes + 1;
  transmit_first(one);
}

static struct connection *free_connection(void) {
  for (unsigned at = 0; at < CONNECTIONS; at++)
    if (connections[at].state == CLOSED) return &connections[at];
  return 0;
}

static u32 new_sequence(void) { return first_sequence += 64000 + ticks; }

static struct connection *accept(const struct packet *packet, u32 sequence) {
  struct connection *one = free_connection();
  if (one == 0) return 0; /* it asks again */
  *one = (struct connection){.state = OPENING, .address = packet->from, .port = read16(packet->content), .own_port = HTTP_PORT,
                             .acknowledged = new_sequence(), .received = sequence + 1, .idle_since = ticks};
  one->sent = one->acknowledged + 1;
  transmit_first(one);
  return one;
}

static void said(const struct connection *one, const char *what) {
  put(what);
  put_address(one->address);
  put_char(' ');
  put_number(one->port);
  put_char('\n');
}

void tcp_connect(u32 address, u16 port) {
  struct connection *one = free_connection();
  if (one == 0) {
    put("too many connections\n");
    return;
  }
  *one = (struct connection){.state = OPENING, .address = address, .port = port, .own_port = next_port++, .is_outgoing = 1,
                             .acknowledged = new_sequence(), .idle_since = ticks};
  one->sent = one->acknowledged + 1;
  transmit_first(one);
}

static void opened(struct connection *one, u32 sequence) {
  one->state = OPENED;
  one->acknowledged = one->sent;
  if (!one->is_outgoing) return;
  one->received = sequence + 1;
  said(one, "connected to ");
  /* Nothing is asked: it was reached. */
  one->state = ANSWERED;
  one->answer_bytes = 0;
  one->is_ending = 1;
  one->sent++;
  transmit_first(one);
}

static void take(struct connection *one, const u8 *segment, unsigned bytes, u8 flags, u32 sequence) {
  unsigned header = (segment[12] >> 4) * 4;
  if (sequence != one->received) {
    transmit(one);
    return;
  }
  for (unsigned at = header; at < bytes; at++) {
    one->line = one->line << 8 | segment[at];
    if (one->line == 0x0d0a0d0a && one->state == OPENED) one->state = ASKED;
  }
  one->received += bytes - header;
  if (flags & FIN) one->received++;
  if (one->state == ASKED) answer(one);
  else if (bytes > header || (flags & FIN)) transmit(one);
  /* The other side has ended: nothing more is owed, but an answer that is under way. */
  if ((flags & FIN) && one->state != ANSWERED) one->state = CLOSED;
  else if (flags & FIN) one->state = one->sent == one->acknowledged ? CLOSED : ANSWERED;
}

void tcp_receive(const struct packet *packet) {
  const u8 *segment = packet->content;
  if (packet->bytes < TCP_BYTES || (segment[12] >> 4) * 4u < TCP_BYTES || (segment[12] >> 4) * 4u > packet->bytes) return;
  if (checksum(segment, packet->bytes, PROTOCOL_TCP, packet->from, packet->to) != 0) return;
  u16 port = read16(segment), own_port = read16(segment + 2);
  u32 sequence = read32(segment + 4), acknowledged = read32(segment + 8);
  u8 flags = segment[13];
  struct connection *one = 0;
  for (unsigned at = 0; at < CONNECTIONS; at++) {
    struct connection *other = &connections[at];
    if (other->state != CLOSED && other->address == packet->from && other->port == port && other->own_port == own_port) one = other;
  }
  if (one == 0) {
    if (flags & RST) return;
    if ((flags & (SYN | ACK)) == SYN && own_port == HTTP_PORT) {
      accept(packet, sequence);
      return;
    }
    u32 next = sequence + packet->bytes - (segment[12] >> 4) * 4 + ((flags & (SYN | FIN)) != 0);
    send(own_port, packet->from, port, flags & ACK ? RST : RST | ACK, flags & ACK ? acknowledged : 0, next, 0, 0);
    return;
  }
  one->idle_since = ticks;
  if (flags & RST) {
    if (one->is_outgoing && one->state == OPENING) said(one, "refused by ");
    one->state = CLOSED;
    return;
  }
  if (one->state == OPENING) {
    if (!one->is_outgoing && (flags & SYN)) transmit(one);
    else if ((flags & ACK) && acknowledged == one->sent) opened(one, sequence);
    if (one->is_outgoing || one->state == OPENING) return;
  }
  if ((flags & ACK) && acknowledged - one->acknowledged <= one->sent - one->acknowledged) {
    one->acknowledged = acknowledged;
    one->resends = 0;
  }
  take(one, segment, packet->bytes, flags, sequence);
}

/* Each tick once. */
void tcp_step(void) {
  for (struct connection *one = connections; one < connections + CONNECTIONS; one++) {
    if (one->state == CLOSED) continue;
    if (ticks - one->idle_since > IDLE_TICKS) one->state = CLOSED;
    else if (one->sent != one->acknowledged && (int)(ticks - one->due) >= 0) {
      if (one->resends++ < RESENDS_MAX) {
        one->due = ticks + RESEND_TICKS;
        transmit(one);
        continue;
      }
      if (one->is_outgoing && one->state == OPENING) said(one, "no answer from ");
      one->state = CLOSED;
    }
  }
}
