// Lets ONNX Runtime compute with one thread in this process. The models of the tests are so small that a second thread only
// waits for the first by turning round, and several test files run side by side.

import { preloadRuntime } from "../../src/runtime/session.js";

preloadRuntime(1);
