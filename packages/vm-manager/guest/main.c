/*
 * The demo guest: the nano guest (src/guest/nano-guest.ts) with a network card. Its console says and takes the same, and more:
 *   ip                      what DHCP gave
 *   ping ADDRESS            `reply from ADDRESS` or `no reply from ADDRESS`
 *   connect ADDRESS PORT    `connected to`, `refused by` or `no answer from ADDRESS PORT`
 *   resolve NAME            `NAME is ADDRESS` or `NAME has no address`
 *   ill, well               whether the page at port 80 answers 503
 * It looks for frames a hundred times a second, and without a pause for a moment after each one.
 */
#include "net.h"

#define LINE_BYTES_MAX 120
#define AWAKE_TICKS 3

static char line[LINE_BYTES_MAX + 1];
static unsigned line_bytes;

/* What follows `word` in the line; 0 when it does not begin with it. */
static const char *after(const char *word) {
  unsigned length = text_length(word);
  if (length > line_bytes || memcmp(line, word, length) != 0) return 0;
  return line + length;
}

static const char *read_number(const char *text, u32 *value) {
  if (*text < '0' || *text > '9') return 0;
  for (*value = 0; *text >= '0' && *text <= '9'; text++) *value = *value * 10 + (*text - '0');
  return text;
}

static const char *read_address(const char *text, u32 *address) {
  *address = 0;
  for (unsigned part = 0; part < 4; part++) {
    u32 value;
    if (part > 0 && *text++ != '.') return 0;
    text = read_number(text, &value);
    if (text == 0 || value > 255) return 0;
    *address = *address << 8 | value;
  }
  return text;
}

static void show_configuration(void) {
  put("address ");
  put_address(own.address);
  put(" mask ");
  put_address(own.mask);
  put(" gateway ");
  put_address(own.gateway);
  put(" resolver ");
  put_address(own.resolver);
  put(" mac ");
  put_mac(own_mac);
  put_char('\n');
}

static void obey(void) {
  const char *rest;
  u32 address, port;
  line[line_bytes] = 0;
  if (line_bytes == 0) return; /* "\r\n" gives an empty one */
  if ((rest = after("poweroff")) && *rest == 0) put("powering off\n"), machine_power_off();
  if ((rest = after("reboot")) && *rest == 0) put("rebooting\n"), machine_reset();
  if ((rest = after("panic")) && *rest == 0) put("panic on request\n"), machine_panic();
  if ((rest = after("ip")) && *rest == 0) show_configuration();
  else if ((rest = after("ill")) && *rest == 0) ill = 1, put("ill\n");
  else if ((rest = after("well")) && *rest == 0) ill = 0, put("well\n");
  else if ((rest = after("resolve "))) resolve(rest);
  else if ((rest = after("ping ")) && (rest = read_address(rest, &address)) && *rest == 0) ping(address);
  else if ((rest = after("connect ")) && (rest = read_address(rest, &address)) && *rest == ' ' &&
           (rest = read_number(rest + 1, &port)) && *rest == 0 && port < 65536)
    tcp_connect(address, port);
  else put("echo: "), put(line), put_char('\n');
}

void guest_main(void) {
  u32 seconds = 0, busy_until = 0;
  put("blixard nano guest ready\n");
  net_start();
  for (;;) {
    int input = serial_read();
    if (input == '\n' || input == '\r') {
      obey();
      line_bytes = 0;
    } else if (input >= 0) {
      if (line_bytes < LINE_BYTES_MAX) line[line_bytes++] = input;
    } else if (net_step()) {
      busy_until = ticks + AWAKE_TICKS;
    } else if (ticks / TICKS_PER_SECOND > seconds) {
      seconds++;
      put("tick ");
      put_number(seconds);
      put_char('\n');
    } else if ((int)(busy_until - ticks) > 0) {
      __asm__ volatile("sti; nop; nop; cli");
    } else {
      machine_sleep();
    }
  }
}
