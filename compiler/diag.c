/* diag.c -- messages: where something is, what is wrong with it, what to do next.
 *
 * A message is built once, into the context's arena, and is kept until pai_diag_clear. Text from a
 * file is escaped here, so that a name can never start a line or send a terminal a command.
 */
#include "compiler/ctx.h"
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 120 };

static const struct error_row {
	int number;
	pai_status status;
	const char *hint;
} errors[] = {
#define ERROR(number, name, status, hint) {number, status, hint},
#include "compiler/errors.def"
#undef ERROR
};

static const struct error_row *error_row(pai_code code)
{
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
		if (errors[i].number == (int)code)
			return &errors[i];
	return &errors[0];
}

pai_where pai_at_nothing(void)
{
	return (pai_where){.input = -1, .output = -1, .byte = -1};
}

pai_where pai_at_file(const char *file)
{
	pai_where w = pai_at_nothing();
	w.file = file;
	return w;
}

pai_where pai_at_byte(const char *file, const char *path, int64_t byte)
{
	pai_where w = pai_at_file(file);
	w.path = path;
	w.byte = byte;
	return w;
}

pai_where pai_at_node(const pai_node *node)
{
	pai_where w = pai_at_nothing();
	w.node = node;
	return w;
}

pai_where pai_at_input(const pai_node *node, int slot)
{
	pai_where w = pai_at_node(node);
	w.input = slot;
	w.value = pai_node_in(node, slot);
	return w;
}

pai_where pai_at_output(const pai_node *node, int slot)
{
	pai_where w = pai_at_node(node);
	w.output = slot;
	w.value = pai_node_out(node, slot);
	return w;
}

pai_where pai_at_attr(const pai_node *node, const char *attr)
{
	pai_where w = pai_at_node(node);
	w.attr = attr;
	return w;
}

pai_where pai_at_value(const pai_value *value)
{
	pai_where w = pai_at_nothing();
	w.value = value;
	return w;
}

/* The character of UTF-8 at s and its length; 0 where there is none. */
static int character(const unsigned char *s, uint32_t *c)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	int n = *s < 0x80 ? 1 : *s < 0xc0 ? 0 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : *s < 0xf8 ? 4 : 0;
	if (n < 2) {
		*c = *s;
		return n;
	}
	*c = *s & (0xffu >> (n + 1));
	for (int i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		*c = *c << 6 | (s[i] & 0x3f);
	}
	return *c >= least[n] && *c <= 0x10ffff && (*c < 0xd800 || *c > 0xdfff) ? n : 0;
}

/* Characters that steer a terminal, a log or the direction of reading, or that nobody sees. */
static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c ||
	       (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb);
}

/* What a CI service would take for an order: "##[" anywhere, "::" first in a line. */
static bool is_order(const char *s, bool first)
{
	return (s[0] == '#' && s[1] == '#') || (first && s[0] == ':' && s[1] == ':');
}

enum { LONGEST = 6 }; /* bytes of an escape */

/* Writes s, at most `most` bytes of it, escaped as bytes or, in JSON, as characters; lines:
 * line ends and tabs stay. `to` NULL: only measures. Gives the length, and what is left in *rest.
 */
static size_t escape(char *to, const char *s, size_t most, bool lines, bool json, const char **rest)
{
	const char *end = s + strnlen(s, most);
	size_t length = 0;
	for (bool first = true; s < end;) {
		uint32_t c;
		char escaped[4 * LONGEST];
		const char *piece = s;
		const unsigned char *at = (const unsigned char *)s;
		const int n = character(at, &c);
		int n_piece = n;
		if (n > end - s) /* no cut character */
			break;
		const bool stays = lines && (c == '\n' || c == '\t');
		if (!n || (!stays && is_control(c)) || is_order(s, first)) {
			piece = escaped;
			n_piece = json ? sprintf(escaped, "\\u%04x", n ? (unsigned)c : 0xfffdu) : 0;
			for (int i = 0; !json && i < (n ? n : 1); i++)
				n_piece += sprintf(escaped + n_piece, "\\x%02x", at[i]);
		}
		if (to)
			memcpy(to + length, piece, (size_t)n_piece);
		length += (size_t)n_piece;
		first = c == '\n' || (first && (c == ' ' || c == '\t'));
		s += n ? n : 1;
	}
	if (to)
		to[length] = 0;
	*rest = s;
	return length;
}

const char *pai_escape(pai_arena *a, const char *s)
{
	char out[LONGEST * NAME_BYTES + 4];
	(void)escape(out, s, NAME_BYTES, false, false, &s);
	return *s ? pai_arena_printf(a, "%s...", out) : pai_arena_strdup(a, out);
}

static const char *printable(pai_arena *a, const char *s, bool json)
{
	const char *rest;
	char *out = pai_arena_alloc(a, escape(NULL, s, SIZE_MAX, true, json, &rest) + 1);
	(void)escape(out, s, SIZE_MAX, true, json, &rest);
	return out;
}

const char *pai_printable(pai_arena *a, const char *s)
{
	return printable(a, s, false);
}

const char *pai_printable_json(pai_arena *a, const char *s)
{
	return printable(a, s, true);
}

/* Position of a node in its graph, for messages only; -1: a new one. */
static int position(const pai_node *n)
{
	for (int i = 0; i < n->graph->nodes.n; i++)
		if (n->graph->nodes.at[i] == n)
			return i;
	return -1;
}

static const char *file_of(const pai_ctx *ctx, const pai_where *w)
{
	const pai_graph *g = w->node ? w->node->graph : w->value ? w->value->graph : NULL;
	if (w->file)
		return w->file;
	return g && g->model->path ? g->model->path : ctx->model_path;
}

/* 'model.onnx: graph.node[12] "conv1" (Conv): input 1 "w3": ' without the last colon. */
static char *where_text(pai_ctx *ctx, const pai_where *w)
{
	pai_arena *a = ctx->own->arena;
	const char *file = file_of(ctx, w);
	char *s = pai_arena_strdup(a, file ? pai_escape(a, file) : "");
#define ADD(...) \
	(s = pai_arena_printf(a, "%s%s%s", s, *s ? ": " : "", pai_arena_printf(a, __VA_ARGS__)))
	if (w->path)
		ADD("%s", pai_escape(a, w->path));
	if (w->node) {
		const pai_node *n = w->node;
		const char *graph = n->graph->function ? n->graph->function->name
				    : n->graph->outer  ? "subgraph"
						       : "graph";
		const int at = position(n);
		ADD("%s.node%s \"%s\" (%s%s%s)", pai_escape(a, graph),
		    at < 0 ? "" : pai_arena_printf(a, "[%d]", at), pai_escape(a, pai_node_label(n)),
		    pai_escape(a, n->domain), *n->domain ? "." : "", pai_escape(a, n->op_type));
	}
	const char *tensor = w->value ? pai_escape(a, w->value->name) : NULL;
	if (w->attr)
		ADD("attribute \"%s\"", pai_escape(a, w->attr));
	if (w->input >= 0)
		ADD("input %d%s%s%s", w->input, tensor ? " \"" : "", tensor ? tensor : "",
		    tensor ? "\"" : "");
	else if (w->output >= 0)
		ADD("output %d%s%s%s", w->output, tensor ? " \"" : "", tensor ? tensor : "",
		    tensor ? "\"" : "");
	else if (tensor)
		ADD("\"%s\"", tensor);
#undef ADD
	return s;
}

static const char *vformat(pai_arena *a, const char *fmt, va_list args)
{
	va_list again;
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	char *s = pai_arena_alloc(a, (size_t)(n > 0 ? n : 0) + 1);
	vsnprintf(s, (size_t)(n > 0 ? n : 0) + 1, fmt, args);
	for (char *c = s; *c; c++) /* what callers pass through from a file stays on this line */
		if (*c == '\n' || *c == '\t')
			*c = ' ';
	return pai_printable(a, s);
}

static void report(pai_ctx *ctx, pai_severity severity, pai_code code, const pai_where *w,
		   const char *fmt, va_list args)
{
	pai_arena *a = ctx->own->arena;
	const struct error_row *row = error_row(code);
	pai_diag *d = PAI_NEW(a, pai_diag);
	*d = (pai_diag){
		.severity = severity,
		.code = code,
		.status = row->status,
		.where = where_text(ctx, w),
		.text = vformat(a, fmt, args),
		.hint = severity == PAI_ERROR ? row->hint : NULL,
		.file = file_of(ctx, w) ? pai_escape(a, file_of(ctx, w)) : NULL,
		.node = w->node ? pai_escape(a, pai_node_label(w->node)) : NULL,
		.op = w->node ? pai_escape(a, w->node->op_type) : NULL,
		.tensor = w->value ? pai_escape(a, w->value->name) : NULL,
		.attr = w->attr ? pai_escape(a, w->attr) : NULL,
		.path = w->path ? pai_escape(a, w->path) : NULL,
		.input = w->input,
		.output = w->output,
		.byte = w->byte,
	};
	PAI_PUSH(a, ctx->own->diags, d);
	if (ctx->on_diag)
		ctx->on_diag(ctx->payload, d);
}

pai_status pai_fail(pai_ctx *ctx, pai_code code, pai_where where, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	report(ctx, PAI_ERROR, code, &where, fmt, args);
	va_end(args);
	return error_row(code)->status;
}

void pai_warn(pai_ctx *ctx, pai_code code, pai_where where, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	report(ctx, PAI_WARNING, code, &where, fmt, args);
	va_end(args);
}

void pai_note(pai_ctx *ctx, pai_where where, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	report(ctx, PAI_NOTE, PAI_E_internal, &where, fmt, args);
	va_end(args);
}

const char *pai_did_you_mean(pai_ctx *ctx, const char *name)
{
	return name ? pai_arena_printf(ctx->own->arena, "; did you mean %s?", name) : "";
}

int pai_diag_count(const pai_ctx *ctx)
{
	return ctx->own->diags.n;
}

const pai_diag *pai_diag_get(const pai_ctx *ctx, int i)
{
	return ctx->own->diags.at[i];
}

void pai_diag_clear(pai_ctx *ctx)
{
	ctx->own->diags.n = 0;
}

static const char *const severities[] = {
	[PAI_ERROR] = "error",
	[PAI_WARNING] = "warning",
	[PAI_NOTE] = "note",
};

static void print_json(const pai_diag *d, FILE *to)
{
	cJSON *o = cJSON_CreateObject();
	const struct {
		const char *key, *value;
	} texts[] = {{"file", d->file}, {"path", d->path},     {"node", d->node},
		     {"op", d->op},     {"tensor", d->tensor}, {"attr", d->attr},
		     {"text", d->text}, {"hint", d->hint}};
	const struct {
		const char *key;
		int64_t value;
	} numbers[] = {{"input", d->input}, {"output", d->output}, {"byte", d->byte}};
	char code[16];
	snprintf(code, sizeof code, "E%04d", (int)d->code);
	cJSON_AddStringToObject(o, "severity", severities[d->severity]);
	if (d->severity != PAI_NOTE)
		cJSON_AddStringToObject(o, "code", code);
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (texts[i].value)
			cJSON_AddStringToObject(o, texts[i].key, texts[i].value);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (numbers[i].value >= 0)
			cJSON_AddNumberToObject(o, numbers[i].key, (double)numbers[i].value);
	char *line = cJSON_PrintUnformatted(o); /* its strings have been made printable */
	fprintf(to, "%s\n", line ? line : "{}");
	cJSON_free(line);
	cJSON_Delete(o);
}

void pai_diag_print(const pai_diag *d, FILE *to, bool json)
{
	if (json) {
		print_json(d, to);
		return;
	}
	fprintf(to, "pai-opt: %s", severities[d->severity]);
	if (d->severity != PAI_NOTE)
		fprintf(to, " E%04d", (int)d->code);
	fprintf(to, ": %s%s%s", d->where, *d->where ? ": " : "", d->text);
	if (d->byte >= 0)
		fprintf(to, " (byte 0x%" PRIx64 ")", d->byte);
	fprintf(to, "\n");
	if (d->hint)
		fprintf(to, "pai-opt: hint: %s\n", d->hint);
}
