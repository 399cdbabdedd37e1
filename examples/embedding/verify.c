/* verify FILE KEYS TITLE [DEVICE [SECONDS]]: is the license in FILE good, by the JWK set in KEYS? What a few lines of C need for it. */
#include <counterfoil.h>
#include <stdio.h>
#include <stdlib.h>

static char *read_text(const char *path) {
    static const size_t longest = 128 * 1024;
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(COUNTERFOIL_USAGE);
    }
    char *text = malloc(longest + 1);
    if (!text) abort();
    text[fread(text, 1, longest, file)] = '\0';
    fclose(file);
    return text;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: %s FILE KEYS TITLE [DEVICE [SECONDS]]\n", argv[0]);
        return COUNTERFOIL_USAGE;
    }
    char *token = read_text(argv[1]), *keys = read_text(argv[2]);
    int64_t at = argc > 5 ? strtoll(argv[5], NULL, 10) : 0;
    counterfoil_license *license;
    counterfoil_error *error;
    int32_t answer = counterfoil_verify(token, keys, argv[3], argc > 4 ? argv[4] : NULL, at, &license, &error);
    if (answer == COUNTERFOIL_OK) {
        puts(counterfoil_license_claims(license));
        counterfoil_license_free(license);
    } else {
        printf("%s\n", counterfoil_error_code(error));
        counterfoil_error_free(error);
    }
    free(token);
    free(keys);
    return answer;
}
