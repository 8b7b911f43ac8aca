"""What is shown after a failure?"""
