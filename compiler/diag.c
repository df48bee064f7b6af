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

const char *pai_escape(pai_arena *a, const char *s)
{
	char *out = pai_arena_alloc(a, 4 * NAME_BYTES + 4), *o = out;
	size_t i = 0;
	for (; s[i] && i < NAME_BYTES; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c < 0x20 || c == 0x7f)
			o += sprintf(o, "\\x%02x", c);
		else
			*o++ = (char)c;
	}
	while (s[i] && o > out && ((unsigned char)o[-1] & 0xc0) == 0x80) /* no cut UTF-8 */
		o--;
	if (s[i])
		strcpy(o, "...");
	return out;
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
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
	return s;
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
	char *line = cJSON_PrintUnformatted(o);
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
