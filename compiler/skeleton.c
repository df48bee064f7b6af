/* skeleton.c -- checked bytes to messages of protobuf-c, without the large payloads.
 *
 * The skeleton is the file with a short mark in place of each blob, and with the lengths of the
 * messages around it lowered; lengths keep their width, so nothing else moves. It is decoded into
 * an arena, then every mark becomes a pointer into the file. The messages are never freed one by
 * one, and are packed again without a copy of the payloads.
 */
#include "compiler/wire.h"
#include <inttypes.h>
#include <string.h>

/* A varint of exactly that width. */
static void put_padded(uint8_t *to, size_t width, uint64_t v)
{
	for (size_t i = 0; i < width; i++, v >>= 7)
		to[i] = (uint8_t)((v & 0x7f) | (i + 1 < width ? 0x80 : 0));
}

static const uint8_t *make_skeleton(pai_arena *a, const pai_wire *w, size_t *n)
{
	size_t size = w->n, from = 0, to = 0;
	for (int i = 0; i < w->blobs.n; i++)
		size -= w->blobs.at[i].n - PAI_MARK;
	uint8_t *out = pai_arena_bulk(a, size);
	for (int i = 0; out && i < w->patches.n; i++) {
		const pai_wire_patch *p = &w->patches.at[i];
		pai_copy(out + to, w->bytes + from, p->at - from);
		to += p->at - from;
		put_padded(out + to, p->width, p->n);
		to += p->width;
		from = p->at + p->width;
		if (p->blob < 0)
			continue;
		for (int k = 0; k < PAI_MARK; k++)
			out[to++] = (uint8_t)((uint64_t)p->blob >> 8 * k);
		from += w->blobs.at[p->blob].n;
	}
	if (out)
		pai_copy(out + to, w->bytes + from, w->n - from);
	*n = size;
	return out;
}

typedef struct budget {
	pai_arena *arena;
	size_t left;
} budget;

static void *spend_budget(void *payload, size_t n)
{
	budget *b = payload;
	if (n > b->left)
		return NULL;
	b->left -= n;
	return pai_arena_alloc(b->arena, n);
}

static void keep_all(void *payload, void *p)
{
	(void)payload, (void)p;
}

static bool may_hold_tensors(const ProtobufCFieldDescriptor *f)
{
	static const ProtobufCMessageDescriptor *const types[] = {
		&onnx__graph_proto__descriptor,         &onnx__node_proto__descriptor,
		&onnx__attribute_proto__descriptor,     &onnx__tensor_proto__descriptor,
		&onnx__sparse_tensor_proto__descriptor, &onnx__function_proto__descriptor,
		&onnx__training_info_proto__descriptor,
	};
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (f->descriptor == types[i])
			return true;
	return false;
}

static void attach_tensor(const pai_wire *w, Onnx__TensorProto *t)
{
	if (!t->has_raw_data || t->raw_data.len != PAI_MARK)
		return;
	size_t blob = 0;
	for (int k = 0; k < PAI_MARK; k++)
		blob |= (size_t)t->raw_data.data[k] << 8 * k;
	t->raw_data.data = (uint8_t *)w->bytes + w->blobs.at[blob].offset;
	t->raw_data.len = w->blobs.at[blob].n;
}

/* Recursion is as deep as the file, which the scan has limited. */
static void attach(const pai_wire *w, ProtobufCMessage *m)
{
	if (m->descriptor == &onnx__tensor_proto__descriptor) {
		attach_tensor(w, (Onnx__TensorProto *)m);
		return;
	}
	for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		if (!may_hold_tensors(f))
			continue;
		char *member = (char *)m + f->offset;
		if (f->label != PROTOBUF_C_LABEL_REPEATED) {
			ProtobufCMessage *one = *(ProtobufCMessage **)member;
			if (one)
				attach(w, one);
			continue;
		}
		size_t n = *(size_t *)((char *)m + f->quantifier_offset);
		for (size_t k = 0; k < n; k++)
			attach(w, (*(ProtobufCMessage ***)member)[k]);
	}
}

static pai_status unpack(pai_ctx *ctx, pai_arena *a, const char *file,
			 const ProtobufCMessageDescriptor *type, const pai_wire *w,
			 pai_arena *scratch, ProtobufCMessage **out)
{
	size_t n = w->n;
	const uint8_t *bytes = w->bytes;
	if (w->blobs.n)
		bytes = make_skeleton(scratch, w, &n);
	if (!bytes)
		return pai_fail(ctx, PAI_E_memory, pai_at_file(file), "%zu bytes to decode", n);
	budget b = {a, ctx->limits.decoder_bytes + 8 * w->n};
	ProtobufCAllocator allocator = {spend_budget, keep_all, &b};
	ProtobufCMessage *m = protobuf_c_message_unpack(type, &allocator, n, bytes);
	if (!m)
		return pai_fail(ctx, PAI_E_wire_memory, pai_at_file(file),
				"cannot be decoded with %" PRIu64 " bytes of memory",
				ctx->limits.decoder_bytes + 8 * (uint64_t)w->n);
	attach(w, m);
	*out = m;
	return PAI_OK;
}

pai_status pai_wire_decode(pai_ctx *ctx, pai_arena *a, const char *file,
			   const ProtobufCMessageDescriptor *type, const void *bytes, size_t n,
			   ProtobufCMessage **out)
{
	pai_wire w;
	pai_arena *scratch = pai_arena_new(ctx);
	pai_status status = pai_wire_scan(ctx, scratch, file, type, bytes, n, &w);
	if (status == PAI_OK)
		status = unpack(ctx, a, file, type, &w, scratch, out);
	pai_arena_free(scratch);
	return status;
}

const char *pai_protobuf_c_version(void)
{
	return protobuf_c_version();
}
