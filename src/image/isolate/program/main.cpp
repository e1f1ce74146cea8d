// offloop-decoder: decodes pictures for offloop in a process of its own.
#include "image/isolate/program/serve.h"
#include "image/isolate/program/warm_up.h"
#include "offloop/image/process.h"

int main(int argc, char** argv) {
  using namespace offloop::image;
  isolate::decoder_main(argc, argv, &isolate::warm_up, &process);
}
