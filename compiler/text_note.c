/* text_note.c -- annotations: what ONNX's textual syntax has no form for (see text.h).
 *
 * Metadata and doc strings are written as such. All other fields that an object came with and that
 * the graph in memory has no place for are packed, in hex, under the key "rest"; reading unpacks
 * them to the object's origin, where the writer of bytes finds them.
 */
#include "compiler/text.h"
#include "compiler/wire.h"
#include <string.h>

/* Who is spoken about. Fields that the text says by itself, by number, are not part of the rest. */
static const struct text_subject {
	const char *name;
	const ProtobufCMessageDescriptor *message;
	unsigned doc;       /* field number of doc_string */
	unsigned props;     /* of metadata_props, where the graph in memory has no place for them */
	bool named;         /* a name follows */
	uint32_t known[20]; /* ended by 0 */
} subjects[] = {
	/* clang-format off */
	[TEXT_MODEL] = {"model", &onnx__model_proto__descriptor, 6, 0, false,
			{1, 2, 3, 4, 5, 6, 7, 8, 14, 25}},
	[TEXT_GRAPH] = {"graph", &onnx__graph_proto__descriptor, 10, 0, false,
			{1, 2, 5, 10, 11, 12, 13, 16}},
	[TEXT_FUNCTION] = {"function", &onnx__function_proto__descriptor, 8, 0, false,
			   {1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}},
	[TEXT_NODE] = {"node", &onnx__node_proto__descriptor, 6, 0, false,
		       {1, 2, 3, 4, 5, 6, 7, 8, 9}},
	[TEXT_VALUE] = {"value", &onnx__value_info_proto__descriptor, 3, 4, true, {1, 2, 3, 4}},
	[TEXT_INIT] = {"init", &onnx__tensor_proto__descriptor, 12, 16, true,
		       {1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16}},
	[TEXT_ATTR] = {"attr", &onnx__attribute_proto__descriptor, 13, 0, true,
		       {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 20, 21}},
	[TEXT_TENSOR] = {"tensor", &onnx__tensor_proto__descriptor, 12, 16, true,
			 {1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16}},
	/* clang-format on */
};
enum { TENSOR_NAME = 8 }; /* field number */

/* ---- messages in general ---- */

static void *field_at(void *message, const ProtobufCFieldDescriptor *f)
{
	return (char *)message + f->offset;
}

static void field_clear(void *message, const ProtobufCFieldDescriptor *f)
{
	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		*(size_t *)((char *)message + f->quantifier_offset) = 0;
	else if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE)
		*(void **)field_at(message, f) = NULL;
	else if (f->quantifier_offset)
		*(protobuf_c_boolean *)((char *)message + f->quantifier_offset) = 0;
}

/* A string, message or list of `from` that is there. */
static void field_move(void *to, void *from, const ProtobufCFieldDescriptor *f)
{
	size_t *n = (size_t *)((char *)from + f->quantifier_offset);
	bool list = f->label == PROTOBUF_C_LABEL_REPEATED;
	bool pointer = f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE;
	if (list ? !*n : !pointer || !*(void **)field_at(from, f))
		return;
	*(void **)field_at(to, f) = *(void **)field_at(from, f);
	if (list)
		*(size_t *)((char *)to + f->quantifier_offset) = *n;
}

/* Field by number, which the message has. */
static void *field(const struct text_subject *s, void *message, unsigned number)
{
	return field_at(message, protobuf_c_message_descriptor_get_field(s->message, number));
}

/* ---- writing ---- */

const char *text_doc(enum text_subject_id who, const void *origin)
{
	const char *doc = pai_origin_is(origin, subjects[who].message)
				  ? *(char **)field(&subjects[who], (void *)(uintptr_t)origin,
						    subjects[who].doc)
				  : NULL;
	return doc && *doc ? doc : NULL;
}

pai_props text_meta(pai_arena *a, enum text_subject_id who, const void *origin)
{
	const struct text_subject *s = &subjects[who];
	pai_props props = {0};
	if (!s->props || !pai_origin_is(origin, s->message))
		return props;
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field(s->message, s->props);
	size_t n = *(const size_t *)((const char *)origin + f->quantifier_offset);
	Onnx__StringStringEntryProto *const *at =
		*(Onnx__StringStringEntryProto *const *const *)((const char *)origin + f->offset);
	for (size_t i = 0; i < n; i++) {
		pai_prop p = {at[i]->key ? at[i]->key : "", at[i]->value ? at[i]->value : ""};
		PAI_PUSH(a, props, p);
	}
	return props;
}

const char *text_rest(pai_arena *a, enum text_subject_id who, const void *origin, bool whole)
{
	static const char digits[] = "0123456789abcdef";
	const struct text_subject *s = &subjects[who];
	if (!pai_origin_is(origin, s->message))
		return NULL;
	ProtobufCMessage *copy = pai_arena_dup(a, origin, s->message->sizeof_message);
	for (int i = 0; s->known[i] && !whole; i++) {
		const ProtobufCFieldDescriptor *f =
			protobuf_c_message_descriptor_get_field(s->message, s->known[i]);
		if (f)
			field_clear(copy, f);
	}
	size_t n = protobuf_c_message_get_packed_size(copy);
	if (!n)
		return NULL;
	uint8_t *bytes = pai_arena_alloc(a, n);
	char *hex = pai_arena_alloc(a, 2 * n + 1);
	protobuf_c_message_pack(copy, bytes);
	for (size_t i = 0; i < n; i++) {
		hex[2 * i] = digits[bytes[i] >> 4];
		hex[2 * i + 1] = digits[bytes[i] & 15];
	}
	return hex;
}

const char *text_subject_name(enum text_subject_id who)
{
	return subjects[who].name;
}

/* ---- reading ---- */

static int hex_digit(char c)
{
	const char *all = "0123456789abcdef", *at = c ? strchr(all, c) : NULL;
	return at ? (int)(at - all) : -1;
}

static pai_status rest(text_in *t, const struct text_subject *s, const void **origin)
{
	const char *hex;
	PAI_TRY(text_cstring(t, &hex));
	size_t n = strlen(hex) / 2;
	uint8_t *bytes = pai_arena_alloc(t->arena, n + 1);
	for (size_t i = 0; i < n; i++) {
		int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
		if (high < 0 || low < 0)
			return text_fail(t, PAI_E_text_annotation, "rest: not in hex");
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	ProtobufCMessage *read = NULL, *old = (ProtobufCMessage *)(uintptr_t)*origin;
	PAI_TRY(pai_wire_decode(t->ctx, t->arena, t->file, s->message, bytes, n, &read));
	if (!old) {
		*origin = read;
		return PAI_OK;
	}
	for (unsigned i = 0; i < s->message->n_fields; i++)
		field_move(read, old, &s->message->fields[i]);
	memcpy(old, read, s->message->sizeof_message); /* others may point at it */
	return PAI_OK;
}

/* Sparse initialisers are part of the rest of a graph. */
static pai_status sparse_inits(text_in *t, pai_graph *g, const Onnx__GraphProto *from)
{
	for (size_t i = 0; i < from->n_sparse_initializer; i++) {
		const Onnx__SparseTensorProto *x = from->sparse_initializer[i];
		const char *name = x->values && x->values->name ? x->values->name : "";
		if (!*name || pai_map_get(g->names, name))
			return text_fail(t, PAI_E_text_name, "sparse initialiser \"%.80s\"", name);
		pai_value *v = pai_graph_add_value(g, name);
		PAI_TRY(pai_import_sparse(t->ctx, t->arena, pai_at_value(v), x, &v->init));
		PAI_PUSH(t->arena, g->inits, v);
	}
	return PAI_OK;
}

/* The message of an object, made when there is none so far. */
static void *message_of(text_in *t, const struct text_subject *s, const void **origin)
{
	if (!*origin) {
		void *made = pai_arena_alloc(t->arena, s->message->sizeof_message);
		protobuf_c_message_init(s->message, made);
		*origin = made;
	}
	return (void *)(uintptr_t)*origin;
}

static pai_status string_field(text_in *t, const struct text_subject *s, unsigned number,
			       const void **origin)
{
	const char *text;
	PAI_TRY(text_cstring(t, &text));
	*(char **)field(s, message_of(t, s, origin), number) = (char *)(uintptr_t)text;
	return PAI_OK;
}

static pai_status props_field(text_in *t, const struct text_subject *s, const void **origin)
{
	pai_props props = {0};
	PAI_TRY(text_props(t, &props));
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field(s->message, s->props);
	void *message = message_of(t, s, origin);
	Onnx__StringStringEntryProto **at =
		PAI_NEWS(t->arena, Onnx__StringStringEntryProto *, props.n);
	for (int i = 0; i < props.n; i++) {
		at[i] = PAI_NEW(t->arena, Onnx__StringStringEntryProto);
		onnx__string_string_entry_proto__init(at[i]);
		at[i]->key = (char *)(uintptr_t)props.at[i].key;
		at[i]->value = (char *)(uintptr_t)props.at[i].value;
	}
	*(Onnx__StringStringEntryProto ***)field_at(message, f) = at;
	*(size_t *)((char *)message + f->quantifier_offset) = (size_t)props.n;
	return PAI_OK;
}

pai_status text_function_doc(text_in *t, pai_function *f)
{
	return string_field(t, &subjects[TEXT_FUNCTION], subjects[TEXT_FUNCTION].doc, &f->origin);
}

/* Where a subject keeps its origin, and its metadata. */
static pai_status find(text_in *t, enum text_subject_id who, const char *name, pai_model *m,
		       pai_graph *g, text_node_notes *node, const void ***origin, pai_props **props)
{
	pai_value *v = name ? pai_map_get(g->names, name) : NULL;
	text_attr_note note = {name, who == TEXT_TENSOR, NULL};
	*props = NULL;
	switch (who) {
	case TEXT_MODEL:
		*origin = &m->origin;
		*props = &m->props;
		return PAI_OK;
	case TEXT_GRAPH:
		*origin = &g->origin;
		*props = &g->props;
		return PAI_OK;
	case TEXT_FUNCTION:
		if (!g->function)
			return text_fail(t, PAI_E_text_annotation, "not in a function");
		*origin = &g->function->origin;
		*props = &g->function->props;
		return PAI_OK;
	case TEXT_NODE:
		node->any = true;
		*origin = &node->origin;
		*props = &node->props;
		return PAI_OK;
	case TEXT_ATTR:
	case TEXT_TENSOR:
		node->any = true;
		for (int i = 0; i < node->attrs.n; i++) {
			text_attr_note *old = &node->attrs.at[i];
			if (strcmp(old->name, name) == 0 && old->tensor == note.tensor) {
				*origin = &old->origin;
				return PAI_OK;
			}
		}
		PAI_PUSH(t->arena, node->attrs, note);
		*origin = &node->attrs.at[node->attrs.n - 1].origin;
		return PAI_OK;
	case TEXT_VALUE: /* perhaps one that comes later */
		*origin = &(v ? v : pai_graph_add_value(g, name))->origin;
		return PAI_OK;
	case TEXT_INIT:
		if (!v || !v->init)
			return text_fail(t, PAI_E_text_annotation, "the graph has no %s \"%.80s\"",
					 subjects[who].name, name);
		*origin = &v->init->origin;
		return PAI_OK;
	}
	return PAI_OK;
}

/* SUBJECT [NAME] KEY: VALUE */
static pai_status note_read(text_in *t, pai_model *m, pai_graph *g, text_node_notes *node)
{
	const char *subject, *key, *name = NULL;
	const void **origin = NULL;
	pai_props *props = NULL;
	int who = 0, n = (int)(sizeof subjects / sizeof *subjects);
	PAI_TRY(text_id(t, &subject));
	while (who < n && strcmp(subject, subjects[who].name) != 0)
		who++;
	if (who == n || !g)
		return text_fail(t, PAI_E_text_annotation, "nothing to say here about \"%.60s\"",
				 subject);
	if (subjects[who].named)
		PAI_TRY(text_name(t, &name));
	PAI_TRY(text_id(t, &key));
	PAI_TRY(text_match(t, ':'));
	PAI_TRY(find(t, (enum text_subject_id)who, name, m, g, node, &origin, &props));
	if (strcmp(key, "metadata_props") == 0 && props)
		return text_props(t, props);
	if (strcmp(key, "metadata_props") == 0 && subjects[who].props)
		return props_field(t, &subjects[who], origin);
	if (strcmp(key, "doc_string") == 0)
		return string_field(t, &subjects[who], subjects[who].doc, origin);
	if (strcmp(key, "name") == 0 && who == TEXT_TENSOR)
		return string_field(t, &subjects[who], TENSOR_NAME, origin);
	if (strcmp(key, "rest") == 0) {
		PAI_TRY(rest(t, &subjects[who], origin));
		return who == TEXT_GRAPH ? sparse_inits(t, g, *origin) : PAI_OK;
	}
	return text_fail(t, PAI_E_text_annotation, "a %s has no \"%.60s\" here", subjects[who].name,
			 key);
}

pai_status text_read_notes(text_in *t, pai_model *m, pai_graph *g, text_node_notes *node)
{
	for (int i = 0; i < t->notes.n; i++) {
		text_in in = *t;
		in.at = in.token = t->notes.at[i].from;
		in.n = t->notes.at[i].to;
		in.in_note = true;
		PAI_TRY(note_read(&in, m, g, node));
		if (text_peek(&in) >= 0)
			return text_expected(&in, "the end of the line");
	}
	t->notes.n = 0;
	return PAI_OK;
}
