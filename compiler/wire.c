/* wire.c -- the check of protobuf bytes that runs before protobuf-c sees them.
 *
 * protobuf-c recurses without limit, takes a hundred times the memory of some inputs, needs square
 * time for others and has no messages. So one pass without recursion, driven by the generated
 * descriptors, refuses what it must not be given and says where: byte offset and field path. The
 * pass touches every tag and every string once and steps over large raw_data, which it lists: those
 * stay in the file, and only a skeleton without them is decoded (skeleton.c).
 * It knows nothing of what a model means; that is import.c.
 */
#include "compiler/wire.h"
#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum {
	FIELDS = 32, /* at most, of a message of the schema */
	TAG_BYTES = 5,
	VARINT_BYTES = 10,
	HARD_DEPTH = 1000,     /* protobuf-c takes a kilobyte of stack for each level */
	FREE_FIELDS = 16,      /* of a message that protobuf-c notes without memory; */
	FIELD_BYTES = 64,      /* for each beyond these it takes so much */
	DROP = 8 * 1024 * 1024 /* pages behind us are given back after so many bytes */
};

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LENGTH = 2, WIRE_32 = 5 };

typedef struct frame { /* a message that is being walked */
	const ProtobufCMessageDescriptor *type;
	const ProtobufCFieldDescriptor *via; /* field of the message above; NULL: outermost */
	uint32_t index;                      /* in that field, where it is repeated */
	size_t start, end;
	size_t length_at; /* where its length stands */
	size_t removed;   /* bytes that the skeleton had left out before it */
	int patch;        /* of its length, -1: none */
	uint32_t fields;
	uint32_t count[FIELDS]; /* occurrences of each field so far */
} frame;

typedef struct scan {
	pai_ctx *ctx;
	pai_arena *arena;
	const char *file;
	const uint8_t *at;
	size_t pos, dropped;
	PAI_VEC(frame) stack;
	const ProtobufCFieldDescriptor *field; /* being read; NULL: unknown or none */
	size_t length_at, removed;
	uint64_t nodes, initializers, budget;
	pai_wire *out;
} scan;

static frame *top(scan *s)
{
	return &s->stack.at[s->stack.n - 1];
}

/* "graph.node[12].attribute[3].ints"; of a deep one the end. */
static const char *path_text(scan *s)
{
	pai_arena *a = s->arena;
	int from = s->stack.n > 8 ? s->stack.n - 7 : 1;
	const char *path = from > 1 ? "..." : "";
	for (int i = from; i < s->stack.n; i++) {
		const frame *f = &s->stack.at[i];
		const char *dot = *path ? "." : "";
		path = f->via->label == PROTOBUF_C_LABEL_REPEATED
			       ? pai_arena_printf(a, "%s%s%s[%u]", path, dot, f->via->name,
						  f->index)
			       : pai_arena_printf(a, "%s%s%s", path, dot, f->via->name);
	}
	if (s->field)
		path = pai_arena_printf(a, "%s%s%s", path, *path ? "." : "", s->field->name);
	return *path ? path : NULL;
}

static pai_where here(scan *s, size_t at)
{
	return pai_at_byte(s->file, path_text(s), (int64_t)at);
}

#define BAD(at, ...) pai_fail(s->ctx, PAI_E_wire, here(s, at), __VA_ARGS__)

static pai_status within(scan *s, const char *limit, uint64_t found, uint64_t allowed)
{
	if (found <= allowed)
		return PAI_OK;
	return pai_fail(s->ctx, PAI_E_limit, here(s, s->pos),
			"%" PRIu64 " is over the limit %s of %" PRIu64, found, limit, allowed);
}

static pai_status spend(scan *s, size_t nbytes)
{
	s->out->memory += (nbytes + 15) / 16 * 16;
	if (s->out->memory <= s->budget)
		return PAI_OK;
	return pai_fail(s->ctx, PAI_E_wire_memory, here(s, s->pos),
			"decoding takes more than %" PRIu64 " bytes of memory (decoder_bytes)",
			s->budget);
}

/* Bytes of a varint that starts at `at` and ends before `end`, 0 when it is not one. */
static size_t varint(const scan *s, size_t at, size_t end, size_t most, uint64_t *out)
{
	uint64_t v = 0;
	for (size_t i = 0; i < most && at + i < end; i++) {
		v |= (uint64_t)(s->at[at + i] & 0x7f) << 7 * i;
		if (!(s->at[at + i] & 0x80)) {
			*out = v;
			return i + 1;
		}
	}
	return 0;
}

/* Offset of the first byte that is not UTF-8, or a NUL; n when all is well. */
static size_t utf8_error(const uint8_t *p, size_t n)
{
	size_t i = 0;
	while (i < n) {
		uint8_t c = p[i];
		size_t more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : (c & 0xf0) == 0xe0 ? 2 : 3;
		if (c == 0 || (c >= 0x80 && c < 0xc2) || c > 0xf4 || more > n - i - 1)
			return i;
		for (size_t k = 1; k <= more; k++)
			if ((p[i + k] & 0xc0) != 0x80)
				return i;
		bool too_long = (c == 0xe0 && p[i + 1] < 0xa0) || (c == 0xf0 && p[i + 1] < 0x90);
		bool surrogate = c == 0xed && p[i + 1] >= 0xa0;
		if (too_long || surrogate || (c == 0xf4 && p[i + 1] >= 0x90))
			return i;
		i += more + 1;
	}
	return n;
}

static pai_status check_string(scan *s, size_t n)
{
	size_t wrong = utf8_error(s->at + s->pos, n);
	if (wrong < n)
		return BAD(s->pos + wrong, s->at[s->pos + wrong] ? "a string is not UTF-8"
								 : "a string has a NUL byte");
	bool is_text =
		strcmp(s->field->name, "doc_string") == 0 || strcmp(s->field->name, "value") == 0;
	if (!is_text)
		PAI_TRY(within(s, "name_bytes", n, s->ctx->limits.name_bytes));
	return spend(s, n + 1);
}

/* Every message around the blob gets shorter by as much. Outer ones start earlier, so that the list
 * stays in file order. */
static void leave_out(scan *s, size_t n)
{
	for (int i = 1; i < s->stack.n; i++) {
		frame *f = &s->stack.at[i];
		if (f->patch >= 0)
			continue;
		pai_wire_patch around = {f->length_at, f->start - f->length_at, 0, -1};
		f->patch = s->out->patches.n;
		PAI_PUSH(s->arena, s->out->patches, around);
	}
	pai_wire_patch own = {s->length_at, s->pos - s->length_at, PAI_MARK, s->out->blobs.n};
	PAI_PUSH(s->arena, s->out->patches, own);
	pai_wire_blob blob = {s->pos, n};
	PAI_PUSH(s->arena, s->out->blobs, blob);
	s->removed += n - PAI_MARK;
}

static void leave(scan *s)
{
	const frame *f = top(s);
	if (f->patch >= 0)
		s->out->patches.at[f->patch].n = f->end - f->start - (s->removed - f->removed);
	s->stack.n--;
}

static pai_status check_bytes(scan *s, size_t n)
{
	bool raw = top(s)->type == &onnx__tensor_proto__descriptor &&
		   strcmp(s->field->name, "raw_data") == 0;
	if (!raw || (n < PAI_BLOB_BYTES && n != PAI_MARK))
		return spend(s, n);
	leave_out(s, n);
	return spend(s, PAI_MARK);
}

/* Width of a scalar in bytes; 0: a varint. */
static size_t fixed_width(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return 4;
	case PROTOBUF_C_TYPE_DOUBLE:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return 8;
	default:
		return 0;
	}
}

/* Elements of a repeated field that are limited in number. */
static pai_status check_count(scan *s, uint64_t count)
{
	const pai_limits *l = &s->ctx->limits;
	const ProtobufCMessageDescriptor *type = top(s)->type;
	unsigned id = s->field->id;
	if (type == &onnx__node_proto__descriptor && id <= 2)
		return within(s, "inputs", count, l->inputs);
	if (strcmp(s->field->name, "attribute") == 0 ||
	    strcmp(s->field->name, "attribute_proto") == 0)
		return within(s, "attributes", count, l->attributes);
	if (strcmp(s->field->name, "opset_import") == 0)
		return within(s, "opsets", count, l->opsets);
	if ((type == &onnx__tensor_proto__descriptor ||
	     type == &onnx__tensor_shape_proto__descriptor) &&
	    id == 1)
		return within(s, "rank", count, l->rank);
	return PAI_OK;
}

static pai_status check_packed(scan *s, size_t n)
{
	size_t width = fixed_width(s->field->type), end = s->pos + n, count = 0;
	uint64_t ignored;
	if (width) {
		if (n % width)
			return BAD(s->pos, "%zu bytes are not a whole number of elements", n);
		return spend(s, n);
	}
	for (size_t at = s->pos, used; at < end; at += used, count++) {
		used = varint(s, at, end, VARINT_BYTES, &ignored);
		if (!used)
			return BAD(at, "a number does not end");
	}
	uint32_t *total = &top(s)->count[s->field - top(s)->type->fields];
	*total += (uint32_t)count;
	PAI_TRY(check_count(s, *total));
	return spend(s, 8 * count);
}

static pai_status enter(scan *s, size_t n)
{
	frame *above = top(s);
	size_t slot = (size_t)(s->field - above->type->fields);
	if (s->field->label != PROTOBUF_C_LABEL_REPEATED && above->count[slot] > 1)
		return BAD(s->pos, "a message that may stand once stands here again");
	uint64_t depth = s->ctx->limits.depth < HARD_DEPTH ? s->ctx->limits.depth : HARD_DEPTH;
	if ((uint64_t)s->stack.n >= depth)
		return pai_fail(s->ctx, PAI_E_wire_depth, here(s, s->pos),
				"messages nest deeper than %" PRIu64, depth);
	if (++s->out->n_messages > s->ctx->limits.messages)
		return pai_fail(s->ctx, PAI_E_wire_messages, here(s, s->pos),
				"more than %" PRIu64 " messages", s->ctx->limits.messages);
	frame next = {
		.type = s->field->descriptor,
		.via = s->field,
		.index = above->count[slot] - 1,
		.start = s->pos,
		.end = s->pos + n,
		.length_at = s->length_at,
		.removed = s->removed,
		.patch = -1,
	};
	assert(next.type->n_fields <= FIELDS);
	if (next.type == &onnx__node_proto__descriptor)
		PAI_TRY(within(s, "nodes", ++s->nodes, s->ctx->limits.nodes));
	if (strstr(s->field->name, "initializer"))
		PAI_TRY(within(s, "initializers", ++s->initializers, s->ctx->limits.initializers));
	PAI_TRY(spend(s, next.type->sizeof_message));
	PAI_PUSH(s->arena, s->stack, next);
	return PAI_OK;
}

static pai_status check_length(scan *s)
{
	uint64_t n;
	const ProtobufCFieldDescriptor *f = s->field;
	size_t end = top(s)->end, used = varint(s, s->pos, end, TAG_BYTES, &n);
	if (!used)
		return BAD(s->pos, "a length does not end");
	if (n > end - s->pos - used)
		return BAD(s->pos, "a length of %" PRIu64 " where %zu bytes are left", n,
			   end - s->pos - used);
	s->length_at = s->pos;
	s->pos += used;
	if (!f)
		PAI_TRY(spend(s, n + 48)); /* an unknown field is kept as it is */
	else if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return enter(s, n);
	else if (f->type == PROTOBUF_C_TYPE_STRING)
		PAI_TRY(check_string(s, n));
	else if (f->type == PROTOBUF_C_TYPE_BYTES)
		PAI_TRY(check_bytes(s, n));
	else
		PAI_TRY(check_packed(s, n));
	s->pos += n;
	return PAI_OK;
}

/* Members of a oneof replace each other: none may be lost silently. */
static bool is_second_choice(const frame *f, const ProtobufCFieldDescriptor *field)
{
	if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
		return false;
	for (unsigned i = 0; i < f->type->n_fields; i++)
		if ((f->type->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && f->count[i])
			return true;
	return false;
}

static unsigned wire_of(const ProtobufCFieldDescriptor *f)
{
	size_t width = fixed_width(f->type);
	if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_BYTES ||
	    f->type == PROTOBUF_C_TYPE_MESSAGE)
		return WIRE_LENGTH;
	return width == 4 ? WIRE_32 : width == 8 ? WIRE_64 : WIRE_VARINT;
}

static bool may_be_packed(const ProtobufCFieldDescriptor *f)
{
	return f->label == PROTOBUF_C_LABEL_REPEATED && wire_of(f) != WIRE_LENGTH;
}

static pai_status check_value(scan *s, unsigned wire)
{
	uint64_t ignored;
	size_t end = top(s)->end, used;
	if (wire == WIRE_LENGTH)
		return check_length(s);
	if (wire == WIRE_VARINT)
		used = varint(s, s->pos, end, VARINT_BYTES, &ignored);
	else
		used = wire == WIRE_64 ? 8 : 4;
	if (!used || used > end - s->pos)
		return BAD(s->pos, "a number does not end");
	s->pos += used;
	return spend(s, s->field ? 8 : 48);
}

static pai_status check_field(scan *s)
{
	uint64_t tag;
	size_t start = s->pos, end = top(s)->end, used = varint(s, start, end, TAG_BYTES, &tag);
	s->field = NULL;
	if (!used)
		return BAD(start, "a field tag does not end");
	unsigned wire = tag & 7;
	uint64_t id = tag >> 3;
	if (id == 0 || id > (1u << 29) - 1)
		return BAD(start, "field number %" PRIu64 " does not exist", id);
	if (wire == 3 || wire == 4)
		return BAD(start, "field %" PRIu64 " is a group, which ONNX does not have", id);
	if (wire > 5)
		return BAD(start, "field %" PRIu64 " has wire type %u, which does not exist", id,
			   wire);
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field(top(s)->type, (unsigned)id);
	s->field = f;
	if (f && wire != wire_of(f) && !(wire == WIRE_LENGTH && may_be_packed(f)))
		return BAD(start, "wire type %u where the field has %u", wire, wire_of(f));
	if (f && is_second_choice(top(s), f))
		return BAD(start, "a second value where one of several may stand");
	s->pos += used;
	if (f && !(wire == WIRE_LENGTH && may_be_packed(f)))
		PAI_TRY(check_count(s, ++top(s)->count[f - top(s)->type->fields]));
	if (++top(s)->fields > FREE_FIELDS)
		PAI_TRY(spend(s, FIELD_BYTES));
	return check_value(s, wire);
}

/* Walking back over what is behind us is rare: its pages need not stay. */
static void drop_behind(scan *s)
{
	if (s->pos - s->dropped < DROP)
		return;
	pai_file_drop(s->ctx, s->at + s->dropped, s->pos - s->dropped);
	s->dropped = s->pos;
}

pai_status pai_wire_scan(pai_ctx *ctx, pai_arena *a, const char *file,
			 const ProtobufCMessageDescriptor *type, const void *bytes, size_t n,
			 pai_wire *out)
{
	*out = (pai_wire){.bytes = bytes, .n = n};
	scan scanned = {.ctx = ctx, .arena = a, .file = file, .at = bytes, .out = out};
	scan *s = &scanned;
	s->budget = ctx->limits.decoder_bytes + 8 * (uint64_t)n;
	if (n > ctx->limits.file_bytes || n > INT32_MAX)
		return pai_fail(ctx, PAI_E_too_large, pai_at_file(file),
				"%zu bytes are over the limit file_bytes of %" PRIu64, n,
				ctx->limits.file_bytes);
	frame outermost = {.type = type, .end = n, .patch = -1};
	PAI_PUSH(a, s->stack, outermost);
	for (;;) {
		while (s->stack.n && s->pos == top(s)->end)
			leave(s);
		if (!s->stack.n)
			return PAI_OK;
		PAI_TRY(check_field(s));
		drop_behind(s);
	}
}

/* The messages that a file may hold by itself. */
static const ProtobufCMessageDescriptor *message_type(const char *name)
{
	static const ProtobufCMessageDescriptor *const types[] = {
		&onnx__model_proto__descriptor,
		&onnx__tensor_proto__descriptor,
		&onnx__graph_proto__descriptor,
		&onnx__type_proto__descriptor,
	};
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (strcmp(types[i]->name, name) == 0)
			return types[i];
	return NULL;
}

pai_status pai_wire_check(pai_ctx *ctx, const char *file, const char *message, const void *bytes,
			  size_t n)
{
	const ProtobufCMessageDescriptor *type = message_type(message);
	if (!type)
		return pai_fail(ctx, PAI_E_internal, pai_at_file(file), "no message \"%s\"",
				message);
	pai_wire found;
	pai_arena *a = pai_arena_new(ctx);
	pai_status status = pai_wire_scan(ctx, a, file, type, bytes, n, &found);
	pai_arena_free(a);
	return status;
}
