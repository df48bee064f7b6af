/* options.c -- name{key=value,...},name,... : pipelines, optimisers, losses, schedules.
 *
 * Parsing knows no names; pai_item_check holds an item against the table that it is for. A value
 * with anything but plain characters is written in quotes, where \" and \\ stand for the character.
 */
#include "compiler/text.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
	pai_ctx *ctx;
	pai_arena *arena;
	const char *text, *at;
} reader;

static pai_status wrong(reader *r, const char *expected)
{
	pai_where w = pai_at_nothing();
	int column = (int)(r->at - r->text) + 1;
	if (!*r->at)
		return pai_fail(r->ctx, PAI_E_bad_grammar, w, "\"%s\": expected %s at the end",
				pai_escape(r->arena, r->text), expected);
	return pai_fail(
		r->ctx, PAI_E_bad_grammar, w, "\"%s\": expected %s at column %d, found '%s'",
		pai_escape(r->arena, r->text), expected, column, pai_escape(r->arena, r->at));
}

static char peek(reader *r)
{
	while (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')
		r->at++;
	return *r->at;
}

static bool accept(reader *r, char c)
{
	if (peek(r) != c)
		return false;
	r->at++;
	return true;
}

static bool is_plain(char c) /* needs no quotes in a value */
{
	return c && !strchr(" \t\n\r,{}=\"\\", c);
}

static pai_status word(reader *r, const char *what, const char **out)
{
	size_t n = 0;
	peek(r);
	while (is_plain(r->at[n]))
		n++;
	if (!n)
		return wrong(r, what);
	*out = pai_arena_strndup(r->arena, r->at, n);
	r->at += n;
	return PAI_OK;
}

static pai_status quoted(reader *r, const char **out)
{
	size_t n = 0;
	char *s = pai_arena_alloc(r->arena, strlen(r->at) + 1);
	const char *start = r->at++;
	for (; *r->at && *r->at != '"'; r->at++) {
		if (*r->at == '\\' && (r->at[1] == '"' || r->at[1] == '\\'))
			r->at++;
		s[n++] = *r->at;
	}
	if (!*r->at) {
		r->at = start;
		return wrong(r, "a closing quote for the value");
	}
	r->at++;
	*out = s;
	return PAI_OK;
}

/* After the '{'. */
static pai_status settings(reader *r, pai_item *item)
{
	PAI_VEC(pai_setting) list = {0};
	if (accept(r, '}'))
		return PAI_OK;
	do {
		pai_setting s;
		PAI_TRY(word(r, "a key", &s.key));
		if (!accept(r, '='))
			return wrong(r, "'='");
		PAI_TRY(peek(r) == '"' ? quoted(r, &s.value) : word(r, "a value", &s.value));
		for (int i = 0; i < list.n; i++)
			if (strcmp(list.at[i].key, s.key) == 0)
				return pai_fail(r->ctx, PAI_E_bad_grammar, pai_at_nothing(),
						"%s: \"%s\" is given twice", item->name, s.key);
		PAI_PUSH(r->arena, list, s);
	} while (accept(r, ','));
	item->at = list.at;
	item->n = list.n;
	return accept(r, '}') ? PAI_OK : wrong(r, "',' or '}'");
}

pai_status pai_items_parse(pai_ctx *ctx, pai_arena *a, const char *text, pai_item **out, int *n)
{
	reader r = {ctx, a, text, text};
	PAI_VEC(pai_item) items = {0};
	if (peek(&r)) {
		do {
			pai_item item = {0};
			PAI_TRY(word(&r, "a name", &item.name));
			if (accept(&r, '{'))
				PAI_TRY(settings(&r, &item));
			PAI_PUSH(a, items, item);
		} while (accept(&r, ','));
		if (peek(&r))
			return wrong(&r, "','");
	}
	*out = items.at;
	*n = items.n;
	return PAI_OK;
}

/* ---- checking ---- */

static const pai_option *option_find(const pai_option *options, const char *name)
{
	return options ? pai_table_find(PAI_TABLE(options), name) : NULL;
}

static bool read_int(const char *s, int64_t *out)
{
	char *end;
	errno = 0;
	*out = strtoll(s, &end, 10);
	return end != s && !*end && errno == 0 && (*s == '-' || (*s >= '0' && *s <= '9'));
}

static bool read_float(const char *s, double *out)
{
	char *end;
	text_locale locale = text_locale_begin();
	*out = strtod(s, &end);
	text_locale_end(locale);
	return end != s && !*end && isfinite(*out) && !strpbrk(s, "xX +");
}

/* Numbers between commas. Fills out[] where it is not NULL; -1: something else. */
static int64_t read_floats(const char *s, double *out)
{
	char one[64];
	for (int64_t n = 0;; n++) {
		size_t length = strcspn(s, ",");
		double v;
		if (length >= sizeof one)
			return -1;
		memcpy(one, s, length);
		one[length] = 0;
		if (!read_float(one, &v))
			return -1;
		if (out)
			out[n] = v;
		if (!s[length])
			return n + 1;
		s += length + 1;
	}
}

static bool read_bool(const char *s, bool *out)
{
	static const char *const words[][2] = {
		{"false", "true"}, {"off", "on"}, {"no", "yes"}, {"0", "1"}};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		for (int v = 0; v < 2; v++) {
			if (strcmp(s, words[i][v]) == 0) {
				*out = v;
				return true;
			}
		}
	}
	return false;
}

static pai_status check_range(pai_ctx *ctx, const pai_item *item, const pai_option *o, double v)
{
	if ((o->min == 0 && o->max == 0) || (v >= o->min && v <= o->max))
		return PAI_OK;
	return pai_fail(ctx, PAI_E_bad_value, pai_at_nothing(), "%s: %s is from %g to %g, not %g",
			item->name, o->name, o->min, o->max, v);
}

static pai_status check_floats(pai_ctx *ctx, const pai_item *item, const pai_option *o,
			       const char *value)
{
	pai_arena *scratch = pai_arena_new(ctx);
	double *v = PAI_NEWS(scratch, double, strlen(value) + 1);
	int64_t n = read_floats(value, v);
	pai_status status = PAI_OK;
	for (int64_t i = 0; i < n && status == PAI_OK; i++)
		status = check_range(ctx, item, o, v[i]);
	pai_arena_free(scratch);
	if (n < 0)
		return pai_fail(ctx, PAI_E_bad_value, pai_at_nothing(),
				"%s: %s is numbers between commas, not \"%.80s\"", item->name,
				o->name, value);
	return status;
}

static pai_status check_value(pai_ctx *ctx, const pai_item *item, const pai_option *o,
			      const char *value)
{
	static const char *const types[] = {
		[PAI_OPT_INT] = "an integer",
		[PAI_OPT_FLOAT] = "a number",
		[PAI_OPT_BOOL] = "true or false",
		[PAI_OPT_STRING] = "a text",
	};
	if (o->type == PAI_OPT_FLOATS)
		return check_floats(ctx, item, o, value);
	int64_t i = 0;
	double f = 0;
	bool b, fine = true;
	if (o->type == PAI_OPT_INT && (fine = read_int(value, &i)))
		f = (double)i;
	else if (o->type == PAI_OPT_FLOAT)
		fine = read_float(value, &f);
	else if (o->type == PAI_OPT_BOOL)
		fine = read_bool(value, &b);
	if (!fine)
		return pai_fail(ctx, PAI_E_bad_value, pai_at_nothing(),
				"%s: %s is %s, not \"%.80s\"", item->name, o->name, types[o->type],
				value);
	if (o->choices && !pai_list_has(o->choices, '|', value))
		return pai_fail(ctx, PAI_E_bad_value, pai_at_nothing(),
				"%s: %s is one of %s, not \"%.80s\"", item->name, o->name,
				o->choices, value);
	bool is_number = o->type == PAI_OPT_INT || o->type == PAI_OPT_FLOAT;
	return is_number ? check_range(ctx, item, o, f) : PAI_OK;
}

static const char *setting_find(const pai_item *item, const char *key)
{
	for (int i = 0; i < item->n; i++)
		if (strcmp(item->at[i].key, key) == 0)
			return item->at[i].value;
	return NULL;
}

pai_status pai_item_check(pai_ctx *ctx, const pai_item *item, const pai_option *options)
{
	for (int i = 0; i < item->n; i++) {
		const char *key = item->at[i].key;
		const pai_option *o = option_find(options, key);
		if (o) {
			PAI_TRY(check_value(ctx, item, o, item->at[i].value));
			continue;
		}
		if (!options || !options->name)
			return pai_fail(ctx, PAI_E_unknown_option, pai_at_nothing(),
					"%s takes no options, \"%.80s\" is given", item->name, key);
		return pai_fail(ctx, PAI_E_unknown_option, pai_at_nothing(),
				"%s has no option \"%.80s\"%s", item->name, key,
				pai_did_you_mean(ctx, pai_table_nearest(PAI_TABLE(options), key)));
	}
	for (const pai_option *o = options; o && o->name; o++)
		if (o->required && !setting_find(item, o->name))
			return pai_fail(ctx, PAI_E_missing_argument, pai_at_nothing(),
					"%s needs the option \"%s\"", item->name, o->name);
	return PAI_OK;
}

/* ---- printing and reading ---- */

static const char *value_print(pai_arena *a, const char *value)
{
	size_t n = 0;
	const char *s = value;
	while (is_plain(*s))
		s++;
	if (*value && !*s)
		return value;
	char *out = pai_arena_alloc(a, 2 * strlen(value) + 3);
	out[n++] = '"';
	for (s = value; *s; s++) {
		if (*s == '"' || *s == '\\')
			out[n++] = '\\';
		out[n++] = *s;
	}
	out[n] = '"';
	return out;
}

pai_item *pai_item_resolve(pai_arena *a, const pai_item *item, const pai_option *options)
{
	int n = 0;
	while (options && options[n].name)
		n++;
	pai_item *out = PAI_NEW(a, pai_item);
	*out = (pai_item){.name = item->name, .at = PAI_NEWS(a, pai_setting, n)};
	for (int i = 0; i < n; i++) {
		const char *value = pai_item_string(item, options, options[i].name);
		if (value)
			out->at[out->n++] = (pai_setting){options[i].name, value};
	}
	return out;
}

const char *pai_items_print(pai_arena *a, const pai_item *items, int n)
{
	const char *s = "";
	for (int i = 0; i < n; i++) {
		s = pai_arena_printf(a, "%s%s%s", s, i ? "," : "", items[i].name);
		for (int k = 0; k < items[i].n; k++)
			s = pai_arena_printf(a, "%s%s%s=%s", s, k ? "," : "{", items[i].at[k].key,
					     value_print(a, items[i].at[k].value));
		if (items[i].n)
			s = pai_arena_printf(a, "%s}", s);
	}
	return s;
}

const char *pai_item_string(const pai_item *item, const pai_option *options, const char *key)
{
	const char *given = item ? setting_find(item, key) : NULL;
	const pai_option *o = option_find(options, key);
	return given ? given : o ? o->def : NULL;
}

int64_t pai_item_int(const pai_item *item, const pai_option *options, const char *key)
{
	const char *s = pai_item_string(item, options, key);
	int64_t v = 0;
	return s && read_int(s, &v) ? v : 0;
}

double pai_item_float(const pai_item *item, const pai_option *options, const char *key)
{
	const char *s = pai_item_string(item, options, key);
	double v = 0;
	return s && read_float(s, &v) ? v : 0;
}

bool pai_item_bool(const pai_item *item, const pai_option *options, const char *key)
{
	const char *s = pai_item_string(item, options, key);
	bool v = false;
	return s && read_bool(s, &v) && v;
}

const double *pai_item_floats(const pai_item *item, const pai_option *options, const char *key,
			      pai_arena *a, int64_t *n)
{
	const char *s = pai_item_string(item, options, key);
	if (!s)
		return NULL;
	double *v = PAI_NEWS(a, double, strlen(s) + 1);
	*n = read_floats(s, v);
	return *n < 0 ? NULL : v;
}
