"""The steps in their order."""

from nearfeed_standalone.pipeline.context import FlowStep
from nearfeed_standalone.pipeline.importing import import_inputs, take_in
from nearfeed_standalone.pipeline.measuring import evaluate_inputs, evaluate_run, gate_inputs, pass_gate
from nearfeed_standalone.pipeline.serving import activate_space, is_ready, is_served, load_space, serve_inputs
from nearfeed_standalone.pipeline.training import run_stands, train_inputs, train_run

FLOW = {
    "import": FlowStep(import_inputs, take_in),
    "train": FlowStep(train_inputs, train_run, run_stands),
    "evaluate": FlowStep(evaluate_inputs, evaluate_run),
    "gate": FlowStep(gate_inputs, pass_gate),
    "load": FlowStep(serve_inputs, load_space, is_ready),
    "activate": FlowStep(serve_inputs, activate_space, is_served),
}
