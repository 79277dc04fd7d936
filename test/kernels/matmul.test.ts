import { testOps } from "./ops.ts";

testOps((op) => op === "matmul" || op === "matvec");
