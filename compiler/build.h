/* build.h -- what the files that turn a model into messages share: build.c and build_value.c. */
#ifndef PAI_BUILD_H
#define PAI_BUILD_H

#include "compiler/wire.h"
#include <string.h>

typedef struct pai_builder {
	pai_arena *arena;
	const pai_model *m;
	pai_store *store;
} pai_builder;

static inline bool pai_same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

/* An absent string stays absent where the new one is empty. */
static inline void pai_set_text(char **field, const char *s)
{
	if (!pai_same_text(*field, s))
		*field = (char *)s;
}

/* A new message: a copy of the origin where that is a message of the type, else an empty one. */
void *pai_build_start(const pai_builder *b, const ProtobufCMessageDescriptor *type,
		      const void *origin);
Onnx__StringStringEntryProto *pai_build_entry(const pai_builder *b, const char *key,
					      const char *value);
bool pai_build_same_type(const pai_type *a, const pai_type *b);
Onnx__TypeProto *pai_build_type(const pai_builder *b, const pai_type *t);
Onnx__ValueInfoProto *pai_build_value_info(const pai_builder *b, const pai_value *v,
					   const Onnx__ValueInfoProto *said);
Onnx__TensorProto *pai_build_tensor(const pai_builder *b, const pai_tensor *t, const char *name,
				    bool is_init);

#endif
