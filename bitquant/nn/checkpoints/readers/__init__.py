"""One file a format; `bitquant.nn.checkpoints.reader` states what each must hold."""
