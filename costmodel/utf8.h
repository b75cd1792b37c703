/**
 * @file utf8.h
 * Bytes from outside, on their way into messages, JSON and the store. Needs only libc.
 */
#ifndef PP_COSTMODEL_UTF8_H
#define PP_COSTMODEL_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/** Bytes of the UTF-8 character at `text`, of at most `left` > 0; 0 if it is none. Overlong forms,
 *  surrogates and what lies beyond U+10FFFF are none (Unicode 15, table 3-7). */
size_t pp_utf8_length(const char *text, size_t left);

bool pp_utf8_is_valid(const char *text);

/** Makes one line of valid UTF-8 of `text`, in place and of the same length: control characters
 *  become blanks, bytes that are no character '?' (also of one that a buffer's end cut). */
void pp_utf8_make_line(char *text);

#endif
