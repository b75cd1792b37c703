#include "costmodel/utf8.h"

#include <string.h>

size_t pp_utf8_length(const char *text, size_t left) {
    const unsigned char *p = (const unsigned char *)text;
    if (*p < 0x80) {
        return 1;
    }
    size_t n = *p >= 0xc2 && *p < 0xe0   ? 2
               : *p >= 0xe0 && *p < 0xf0 ? 3
               : *p >= 0xf0 && *p < 0xf5 ? 4
                                         : 0;
    if (n == 0 || n > left) {
        return 0;
    }
    unsigned char low = *p == 0xe0 ? 0xa0 : *p == 0xf0 ? 0x90 : 0x80;
    unsigned char high = *p == 0xed ? 0x9f : *p == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < n; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf) {
            return 0;
        }
    }
    return n;
}

bool pp_utf8_is_valid(const char *text) {
    size_t left = strlen(text);
    while (left > 0) {
        size_t n = pp_utf8_length(text, left);
        if (n == 0) {
            return false;
        }
        text += n;
        left -= n;
    }
    return true;
}

void pp_utf8_make_line(char *text) {
    size_t left = strlen(text);
    while (left > 0) {
        size_t n = pp_utf8_length(text, left);
        unsigned char c = (unsigned char)*text;
        if (n == 0) {
            *text = '?';
            n = 1;
        } else if (c < 0x20 || c == 0x7f) {
            *text = ' ';
        }
        text += n;
        left -= n;
    }
}
