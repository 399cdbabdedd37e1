/* A game that starts only where it is licensed, and reads its levels from the library, where they lie sealed. */
#include <counterfoil.h>
#include <stdio.h>

/* The authority's keys are part of the program, so that nobody brings their own: README.md says how this file is made. */
static const char keys[] =
#include "authority-keys.h"
    ;

static int refuse(counterfoil_error *error) {
    fprintf(stderr, "error: %s [%s]\n", counterfoil_error_message(error), counterfoil_error_code(error));
    fprintf(stderr, "hint: %s\n", counterfoil_error_hint(error));
    counterfoil_error_free(error);
    return 1;
}

/* Prints a file of the title, piece by piece. */
static int show(const counterfoil_opened *opened, const char *path) {
    counterfoil_file *file;
    counterfoil_error *error;
    if (counterfoil_file_open(opened, path, &file, &error) != COUNTERFOIL_OK) return refuse(error);
    uint8_t piece[4096];
    uint64_t offset = 0;
    size_t count;
    do {
        if (counterfoil_file_read(file, offset, piece, sizeof piece, &count, &error) != COUNTERFOIL_OK) {
            counterfoil_file_close(file);
            return refuse(error);
        }
        fwrite(piece, 1, count, stdout);
        offset += count;
    } while (count > 0);
    counterfoil_file_close(file);
    return 0;
}

int main(void) {
    if (counterfoil_abi_version() != COUNTERFOIL_ABI_VERSION) {
        fputs("error: libcounterfoil_sdk is of another version than this program\n", stderr);
        return 3;
    }
    counterfoil_license *license;
    counterfoil_opened *opened;
    counterfoil_error *error;
    if (counterfoil_open("sky-raider", keys, NULL, NULL, &license, &opened, &error) != COUNTERFOIL_OK) return refuse(error);

    const char *edition = counterfoil_license_attribute(license, "edition");
    printf("Sky Raider%s%s\n", edition ? ", edition " : "", edition ? edition : "");
    if (counterfoil_license_grace_until(license) != 0) puts("Connect to the network soon: the license could not be renewed.");
    int status = show(opened, "levels/1.txt");

    counterfoil_close(opened);
    counterfoil_license_free(license);
    return status;
}
