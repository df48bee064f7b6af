/* replay.c -- runs a fuzz target on files: the seeds, and all that fuzzing has found.   FILE... */
#include "fuzz.h"

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		size_t n;
		char *bytes = fuzz_read(argv[i], &n);
		if (!bytes) {
			fprintf(stderr, "cannot read %s\n", argv[i]);
			return 1;
		}
		uint8_t *exact = malloc(n ? n : 1); /* so that a read beyond is seen */
		if (!exact)
			return 1;
		memcpy(exact, bytes, n);
		free(bytes);
		LLVMFuzzerTestOneInput(exact, n);
		free(exact);
	}
	printf("%d files\n", argc - 1);
	return 0;
}
