"""The mutual-information toolbox; imports only mimrl.errors."""
