/* text_lex.c -- tokens of the text form.
 *
 * There is no token stream: each function takes what the grammar expects next, or fails with line,
 * column and byte offset. Work is linear in the text; nothing is copied but names and strings.
 */
#include "compiler/text.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_BYTES = 800 }; /* the exact value of a double has up to 767 digits */

pai_status text_fail(text_in *t, pai_code code, const char *fmt, ...)
{
	int64_t line = 1, column = 1;
	for (size_t i = 0; i < t->token && i < t->n; i++) {
		column = t->s[i] == '\n' ? 1 : column + 1;
		line += t->s[i] == '\n';
	}
	char path[64];
	snprintf(path, sizeof path, "line %" PRId64 ", column %" PRId64, line, column);
	va_list args;
	va_start(args, fmt);
	char text[600];
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	return pai_fail(t->ctx, code, pai_at_byte(t->file, path, (int64_t)t->token), "%s", text);
}

pai_status text_limit(text_in *t, const char *name, uint64_t n, uint64_t limit)
{
	if (n <= limit)
		return PAI_OK;
	return text_fail(t, PAI_E_limit, "more than %" PRIu64 " %s", limit, name);
}

static bool is_space(int c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static bool is_alpha(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool text_id_start(int c)
{
	return is_alpha(c) || c == '_';
}

static bool is_id(int c)
{
	return text_id_start(c) || is_digit(c);
}

/* The character at `i`, -1 beyond the end. */
static int at(const text_in *t, size_t i)
{
	return i < t->n ? (unsigned char)t->s[i] : -1;
}

static void comment(text_in *t)
{
	const char *end = memchr(t->s + t->at, '\n', t->n - t->at);
	size_t stop = end ? (size_t)(end - t->s) : t->n;
	if (at(t, t->at + 1) == '@') {
		text_note note = {t->at + 2, stop};
		PAI_PUSH(t->arena, t->notes, note);
	}
	t->at = stop;
}

static void skip(text_in *t)
{
	while (t->at < t->n) {
		int c = at(t, t->at);
		if (is_space(c))
			t->at++;
		else if (c == '#' && !t->in_note)
			comment(t);
		else
			break;
	}
	t->token = t->at;
}

int text_peek(text_in *t)
{
	skip(t);
	return at(t, t->at);
}

pai_status text_expected(text_in *t, const char *what)
{
	int c = text_peek(t);
	if (c < 0)
		return text_fail(t, PAI_E_text_syntax, "expected %s, found the end", what);
	const char *id;
	size_t n = text_peek_id(t, &id);
	if (n)
		return text_fail(t, PAI_E_text_syntax, "expected %s, found '%.*s'", what,
				 (int)(n < 60 ? n : 60), id);
	if (c < 0x20 || c > 0x7e)
		return text_fail(t, PAI_E_text_syntax, "expected %s, found byte 0x%02x", what,
				 (unsigned)c);
	return text_fail(t, PAI_E_text_syntax, "expected %s, found '%c'", what, c);
}

bool text_accept(text_in *t, char c)
{
	if (text_peek(t) != c)
		return false;
	t->at++;
	return true;
}

pai_status text_match(text_in *t, char c)
{
	char what[] = {'\'', c, '\'', 0};
	return text_accept(t, c) ? PAI_OK : text_expected(t, what);
}

pai_status text_match2(text_in *t, const char *two)
{
	skip(t);
	if (at(t, t->at) != two[0] || at(t, t->at + 1) != two[1])
		return text_expected(t, two);
	t->at += 2;
	return PAI_OK;
}

size_t text_peek_id(text_in *t, const char **out)
{
	size_t n = 0;
	if (text_id_start(text_peek(t)))
		while (is_id(at(t, t->at + n)))
			n++;
	*out = t->s + t->at;
	return n;
}

bool text_peek_is(text_in *t, const char *id)
{
	const char *s;
	size_t n = text_peek_id(t, &s);
	return n == strlen(id) && memcmp(s, id, n) == 0;
}

pai_status text_id(text_in *t, const char **out)
{
	const char *s;
	size_t n = text_peek_id(t, &s);
	if (!n)
		return text_expected(t, "an identifier");
	PAI_TRY(text_limit(t, "bytes in a name", n, t->ctx->limits.name_bytes));
	*out = pai_arena_strndup(t->arena, s, n);
	t->at += n;
	return PAI_OK;
}

/* The character a backslash stands for. Outside annotations it only protects. */
static char escaped(const text_in *t, int c)
{
	if (t->in_note && c == 'n')
		return '\n';
	if (t->in_note && c == 'r')
		return '\r';
	return (char)c;
}

pai_status text_string(text_in *t, pai_str *out)
{
	if (text_peek(t) != '"')
		return text_expected(t, "a string");
	size_t from = ++t->at, end = from, escapes = 0;
	for (; end < t->n && t->s[end] != '"'; end++) {
		if (t->s[end] == '\\') {
			escapes++;
			end++;
		}
	}
	if (end >= t->n)
		return text_fail(t, PAI_E_text_syntax, "the string that starts here has no end");
	size_t n = end - from - escapes;
	char *s = pai_arena_bulk(t->arena, n + 1);
	if (!s)
		return text_fail(t, PAI_E_memory, "no memory for a string of %zu bytes", n);
	if (!escapes)
		pai_copy(s, t->s + from, n);
	else
		for (size_t i = from, k = 0; i < end; i++, k++)
			s[k] = t->s[i] == '\\' ? escaped(t, t->s[++i]) : t->s[i];
	s[n] = 0;
	*out = (pai_str){s, n};
	t->at = end + 1;
	return PAI_OK;
}

pai_status text_cstring(text_in *t, const char **out)
{
	pai_str s;
	PAI_TRY(text_string(t, &s));
	if (memchr(s.at, 0, s.n))
		return text_fail(t, PAI_E_text_syntax, "a NUL byte is not allowed in this string");
	*out = s.at;
	return PAI_OK;
}

pai_status text_name(text_in *t, const char **out)
{
	if (text_peek(t) != '"')
		return text_id(t, out);
	const char *s = "";
	PAI_TRY(text_cstring(t, &s));
	PAI_TRY(text_limit(t, "bytes in a name", strlen(s), t->ctx->limits.name_bytes));
	*out = s;
	return PAI_OK;
}

/* Length of inf, infinity or nan (any case) at `i`, 0 when there is none. */
static size_t special(const text_in *t, size_t i)
{
	static const char *const words[] = {"infinity", "inf", "nan"};
	for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
		size_t n = strlen(words[w]), k = 0;
		while (k < n && is_alpha(at(t, i + k)) && (at(t, i + k) | 0x20) == words[w][k])
			k++;
		if (k == n && !is_id(at(t, i + n)))
			return n;
	}
	return 0;
}

bool text_peek_number(text_in *t)
{
	int c = text_peek(t);
	size_t i = t->at + (c == '-');
	return is_digit(at(t, i)) || special(t, i) != 0;
}

pai_status text_number(text_in *t, text_num *out)
{
	skip(t);
	size_t from = t->at, i = from + (at(t, from) == '-');
	size_t word = special(t, i);
	bool is_float = word != 0;
	i += word;
	if (!word && !is_digit(at(t, i)))
		return text_expected(t, "a number");
	if (!word) {
		while (is_digit(at(t, i)))
			i++;
		if (at(t, i) == '.') {
			is_float = true;
			for (i++; is_digit(at(t, i));)
				i++;
		}
		if (at(t, i) == 'e' || at(t, i) == 'E') {
			is_float = true;
			i++;
			i += at(t, i) == '+' || at(t, i) == '-';
			if (!is_digit(at(t, i)))
				return text_fail(t, PAI_E_text_number,
						 "the exponent has no digits");
			while (is_digit(at(t, i)))
				i++;
		}
	}
	*out = (text_num){t->s + from, i - from, is_float};
	t->at = i;
	return PAI_OK;
}

/* The literal as a C string. */
static pai_status copy_number(text_in *t, text_num num, char *buf)
{
	if (num.n >= NUMBER_BYTES)
		return text_fail(t, PAI_E_text_number, "a number of %zu characters", num.n);
	memcpy(buf, num.s, num.n);
	buf[num.n] = 0;
	return PAI_OK;
}

pai_status text_num_uint(text_in *t, text_num num, uint64_t *out)
{
	uint64_t v = 0;
	if (num.is_float || num.s[0] == '-')
		return text_fail(t, PAI_E_text_number, "expected an integer >= 0, found %.*s",
				 (int)(num.n < 60 ? num.n : 60), num.s);
	for (size_t i = 0; i < num.n; i++) {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(num.s[i] - '0'), &v))
			return text_fail(t, PAI_E_text_number, "%.*s does not fit in 64 bits",
					 (int)(num.n < 60 ? num.n : 60), num.s);
	}
	*out = v;
	return PAI_OK;
}

pai_status text_num_int(text_in *t, text_num num, int64_t *out)
{
	bool negative = num.s[0] == '-';
	text_num digits = {num.s + negative, num.n - negative, num.is_float};
	uint64_t v = 0;
	if (num.is_float)
		return text_fail(t, PAI_E_text_number, "expected an integer, found %.*s",
				 (int)(num.n < 60 ? num.n : 60), num.s);
	PAI_TRY(text_num_uint(t, digits, &v));
	if (v > (uint64_t)INT64_MAX + negative)
		return text_fail(t, PAI_E_text_number, "%.*s does not fit in 64 bits", (int)num.n,
				 num.s);
	*out = negative ? (int64_t)(0 - v) : (int64_t)v;
	return PAI_OK;
}

pai_status text_int(text_in *t, int64_t *out)
{
	text_num num;
	PAI_TRY(text_number(t, &num));
	return text_num_int(t, num, out);
}

/* A NaN may carry its bits in an annotation: nan #@ bits 0x7fa00000 */
static pai_status nan_bits(text_in *t, text_num num, uint64_t *out)
{
	*out = 0;
	if ((num.s[num.n - 1] | 0x20) != 'n' || t->in_note)
		return PAI_OK;
	int before = t->notes.n;
	skip(t);
	if (t->notes.n == before)
		return PAI_OK;
	text_note note = t->notes.at[before];
	char buf[40] = "", *end;
	if (note.to - note.from >= sizeof buf)
		return PAI_OK;
	memcpy(buf, t->s + note.from, note.to - note.from);
	if (strncmp(buf, " bits 0x", 8) != 0)
		return PAI_OK;
	*out = strtoull(buf + 6, &end, 16);
	if (*end && *end != '\r')
		return text_fail(t, PAI_E_text_annotation, "bits of a NaN: not a number");
	t->notes.n = before;
	return PAI_OK;
}

pai_status text_num_float(text_in *t, text_num num, float *out)
{
	char buf[NUMBER_BYTES], *end;
	uint64_t bits = 0;
	PAI_TRY(copy_number(t, num, buf));
	float v = strtof(buf, &end);
	bool word = (num.s[num.n - 1] | 0x20) >= 'a';
	if (v - v != 0 && !word)
		return text_fail(t, PAI_E_text_number, "%.60s is too large for float", buf);
	PAI_TRY(nan_bits(t, num, &bits));
	if (bits) {
		uint32_t low = (uint32_t)bits;
		memcpy(&v, &low, sizeof v);
	}
	*out = v;
	return PAI_OK;
}

pai_status text_num_double(text_in *t, text_num num, double *out)
{
	char buf[NUMBER_BYTES], *end;
	uint64_t bits = 0;
	PAI_TRY(copy_number(t, num, buf));
	double v = strtod(buf, &end);
	bool word = (num.s[num.n - 1] | 0x20) >= 'a';
	if (v - v != 0 && !word)
		return text_fail(t, PAI_E_text_number, "%.60s is too large for double", buf);
	PAI_TRY(nan_bits(t, num, &bits));
	if (bits)
		memcpy(&v, &bits, sizeof v);
	*out = v;
	return PAI_OK;
}

pai_status text_props(text_in *t, pai_props *out)
{
	PAI_TRY(text_match(t, '['));
	if (text_accept(t, ']'))
		return PAI_OK;
	do {
		pai_prop p;
		PAI_TRY(text_cstring(t, &p.key));
		PAI_TRY(text_match(t, ':'));
		PAI_TRY(text_cstring(t, &p.value));
		PAI_PUSH(t->arena, *out, p);
	} while (text_accept(t, ','));
	return text_match(t, ']');
}
