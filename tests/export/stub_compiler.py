"""Stands in for the vendor's closed `edgetpu_compiler`: a script that a test writes, which behaves as it is told."""

from __future__ import annotations

import sys
from pathlib import Path

# What version 16.0 prints with -s.
LOG = """Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 117 ms.

Input model: model.tflite
Input size: 64.00KiB
Output model: ./model_edgetpu.tflite
Output size: 90.00KiB
On-chip memory used for caching model parameters: 1.50MiB
On-chip memory remaining for caching model parameters: {remaining}
Off-chip memory used for streaming uncached model parameters: {off_chip}
Number of Edge TPU subgraphs: 1
Total number of operations: 19
Operation log: ./model_edgetpu.log
{cpu}
Operator                       Count      Status

CONV_2D                        8          Mapped to Edge TPU
TRANSPOSE_CONV                 4          Mapped to Edge TPU
{rows}
Compilation child process completed within timeout period.
Compilation succeeded!
"""
ALL_MAPPED = LOG.format(
    remaining="5.57MiB",
    off_chip="0.00B",
    cpu="",
    rows="PRELU                          6          Mapped to Edge TPU\n"
    "TANH                           1          Mapped to Edge TPU\n",
)
SOME_MAPPED = LOG.format(  # and it streams a little although there is room, as the real one does now and then
    remaining="1.16MiB",
    off_chip="41.75KiB",
    cpu="Number of operations that will run on Edge TPU: 15\nNumber of operations that will run on CPU: 4\n",
    rows="PRELU                          2          Mapped to Edge TPU\n"
    "PRELU                          4          More than one subgraph is not supported\n"
    "TANH                           1          Mapped to Edge TPU\n",
)
FULL_CHIP = LOG.format(  # the two amounts of google-coral/edgetpu, issue 60
    remaining="7.75KiB",
    off_chip="1.22MiB",
    cpu="",
    rows="PRELU                          6          Mapped to Edge TPU\n"
    "TANH                           1          Mapped to Edge TPU\n",
)
REFUSAL = """Edge TPU Compiler version 16.0.384591198
ERROR: Didn't find op for builtin opcode 'TRANSPOSE_CONV' version '4'. An older version might be supported.

ERROR: Registration failed.

Invalid model: model.tflite
Model could not be parsed
"""

_SCRIPT = '''#!{python}
"""Behaves as edgetpu_compiler -s -o FOLDER MODEL."""
import os
import signal
import sys
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

assert sys.argv[1:3] == ["-s", "-o"], sys.argv
folder, source = Path(sys.argv[3]), Path(sys.argv[4])
target = folder / (source.stem + "_edgetpu.tflite")
model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(source.read_bytes(), 0))
graph = model.subgraphs[0]
code = schema.OperatorCodeT()
code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
code.customCode, code.version = b"edgetpu-custom-op", 1
operator = schema.OperatorT()
operator.opcodeIndex, operator.inputs, operator.outputs = 0, list(graph.inputs), list(graph.outputs)


def write():
    model.operatorCodes, graph.operators = [code], [operator]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    target.write_bytes(bytes(builder.Output()))


{behaviour}
print({log!r})
sys.exit({exit_code})
'''

BEHAVIOURS = {
    "compiles": "write()",
    "swaps outputs": "graph.outputs = list(graph.outputs)[::-1]; write()",
    "drops an output": "graph.outputs = list(graph.outputs)[:-1]; write()",
    "writes nothing": "",
    "writes rubbish": "target.write_bytes(b'\\x00' * 100)",
    "copies": "target.write_bytes(source.read_bytes())",
    "ends its caller": "os.kill(os.getppid(), signal.SIGTERM); signal.pause()",
}


def write_stub(folder: Path, behaviour: str = "compiles", log: str = ALL_MAPPED, exit_code: int = 0) -> Path:
    """Writes the program and returns its path."""
    program = folder / "edgetpu_compiler"
    program.write_text(
        _SCRIPT.format(python=sys.executable, behaviour=BEHAVIOURS[behaviour], log=log, exit_code=exit_code), "utf-8"
    )
    program.chmod(0o755)
    return program
